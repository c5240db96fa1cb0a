"""The page of one dataset: card, splits and counts, audit, best results, classes by method."""

from __future__ import annotations

from typing import Any

from ssl_skel.bench.board import words
from ssl_skel.bench.board.model import FLOOR, Row, Table
from ssl_skel.bench.board.pages.cell import Items
from ssl_skel.bench.board.pages.classes import has_predictions
from ssl_skel.bench.board.pages.facts import DatasetFacts, SplitFacts, base_name
from ssl_skel.bench.board.pages.plugin import Cell
from ssl_skel.bench.board.pages.site import Site, class_tables
from ssl_skel.bench.board.pages.templating import render
from ssl_skel.jsonio import read_json

MAX_AUDIT_BYTES = 20_000_000
MAX_METHODS = 10
"""Columns of the table of classes by method."""


def render_dataset(site: Site, name: str) -> str:
    """Render the page of a dataset that has records."""
    facts = site.facts.datasets.get(base_name(name))
    return render(
        "dataset.html.j2", inline=False, board=site.board, words=words, name=name, facts=facts,
        card_facts=_card_facts(facts) if facts else [], splits=_splits(site, name, facts), audit=read_audit(site, name),
        result_headings=[("Split and protocol", "text"), ("Best method", "text"), ("Score", "number"),
                         ("Best floor", "number"), ("Best published", "number")],
        result_rows=[_result(table) for table in site.board.tables if table.dataset == name
                     and any(not row.missing for row in table.rows())],
        classes=[_class_view(site, table) for table in class_tables(site.board) if table.dataset == name])


def _card_facts(facts: DatasetFacts) -> Items:
    return [("classes", str(len(facts.classes))), ("skeleton", f"{facts.joints} joints"),
            ("persons", f"up to {facts.persons}" if facts.persons > 1 else "1"), ("source", facts.source),
            ("licence", facts.licence), ("terms", facts.terms), ("citation", facts.citation)]


def _splits(site: Site, name: str, facts: DatasetFacts | None) -> list[dict[str, Any]]:
    """Splits of this board, with the counts of its records."""
    known = {split.name: split for split in facts.splits} if facts else {}
    counts = {record.cell.split: record.n for record in site.records if record.cell.dataset == name}
    found = []
    for split, n in sorted(counts.items()):
        card = known.get(split, SplitFacts(name=split, description=""))
        incomplete = card.expected is not None and card.expected != (n.train, n.test)
        found.append({
            "name": split, "train": n.train, "val": n.val, "test": n.test, "description": card.description,
            "leak": card.known_leak, "twin": card.clean_twin,
            "expected": "The complete dataset gives {} training and {} test clips.".format(*card.expected)
            if incomplete and card.expected else ""})
    return found


def read_audit(site: Site, name: str) -> dict[str, Any] | None:
    """The part of ``audit/<dataset>/audit.json`` that a page shows; None where there is none that can be read."""
    try:
        path = site.store.root / "audit" / name / "audit.json"
        report = read_json(path, MAX_AUDIT_BYTES)
        rows = [_audit_row(split) for split in report["splits"] if "problem" not in split]
        findings = [str(line) for line in report["findings"]]
        note = f"Of {int(report['clips']):,} clips with digest {str(report['digest'])[:16]}."
    except (OSError, ValueError, KeyError, TypeError):
        return None
    headings = [("Split", "text"), ("Test clips", "number"), ("Copies", "number"), ("Shared frames", "number"),
                ("Nearly the same", "number")]
    return {"headings": headings, "rows": rows, "findings": findings, "note": note}


def _audit_row(split: dict[str, Any]) -> list[Cell]:
    counts = [int(split["test"]), *(int(split[key]["test_clips"]) for key in ("duplicates", "shared_frames", "near"))]
    return [(str(split["name"]), str(split["name"])), *((f"{count:,}", count) for count in counts)]


def _result(table: Table) -> list[Cell]:
    """Best ranked row, best floor and best published value of one table."""
    rows = list(table.tracks[0].rows) if table.tracks else []
    best = max((row for row in rows if row.rank is not None), key=lambda row: row.mean or 0.0, default=None)
    floor = max((row for row in rows if row.role == "floor"), key=lambda row: row.mean or 0.0, default=None)
    if best is None:  # fine-tuning an untrained network only: the supervised ceiling
        best = max((row for row in rows if row.role == "ceiling"), key=lambda row: row.mean or 0.0, default=None)
    name = f"{words.method(best)} · {best.key.backbone} · {words.streams(best)}" if best else words.DASH
    published = max((row.value for row in table.published), default=None)
    return [(f"{table.split}, {table.evaluator}", table.title), (name, name), _score(best), _score(floor),
            (words.DASH if published is None else f"{published:.1f}", "" if published is None else published)]


def _score(row: Row | None) -> Cell:
    return (words.score(row), f"{row.mean:.6g}") if row is not None and row.mean is not None else (words.DASH, "")


def _class_view(site: Site, table: Table) -> dict[str, Any]:
    """Accuracy by class of the best row of each method and of the floors, all on the same clips."""
    rows = _columns(table)
    counted = [site.count(row) for row in rows]
    lines = [{"name": name, "clips": clips, "shares": [one.recall[place] for one in counted]}
             for place, (name, clips) in enumerate(zip(counted[0].names, counted[0].clips))]
    return {"title": f"{table.split}, {table.evaluator}", "rows": lines,
            "note": "Percent of each class's test clips; the best row of each method and backbone, floors last.",
            "methods": [(words.method(row), row.key.backbone) for row in rows]}


def _columns(table: Table) -> list[Row]:
    seen: dict[tuple[str, str], Row] = {}
    rows = [row for row in table.rows() if has_predictions(row) and not row.evaluator]
    for row in sorted(rows, key=lambda row: (row.key.plugin == FLOOR, -(row.mean or 0.0), row.key)):
        if row.records[0].n.test == rows[0].records[0].n.test:
            seen.setdefault((row.key.plugin, row.key.backbone), row)
    found = list(seen.values())
    floors = [row for row in found if row.key.plugin == FLOOR][:2]
    return [row for row in found if row.key.plugin != FLOOR][:MAX_METHODS - len(floors)] + floors
