"""The page of one cell: its record, its environment, and the commands that make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_skel.bench.board import words
from ssl_skel.bench.board.comparable import flat
from ssl_skel.bench.board.pages.site import Site
from ssl_skel.bench.board.pages.templating import render
from ssl_skel.bench.provenance import reproduce
from ssl_skel.bench.record import Record

Items = list[tuple[str, str]]


def render_cell(site: Site, record: Record) -> str:
    """Render the page of a record."""
    cell = record.cell
    fused = cell.streams if cell.fusion == "single" else f"{cell.streams}, {cell.fusion}"
    return render(
        "cell.html.j2", inline=False, board=site.board, words=words, record=record, cell=cell, streams=fused,
        stale=site.stale.get(record.id, ()), figures=_figures(record), points=_points(record),
        facts=_facts(record), reproduce="\n".join(reproduce(record)), reproduce_note=_note(record),
        cost=_cost(record), config=items(record.config), env=items(record.env),
        digests=[*items({"versions": record.versions}), *items({"digest": record.digests.model_dump()}),
                 ("seal", record.seal), ("predictions, sha256", record.predictions.sha256)],
        path=f"records/{cell.dataset}-{cell.split}/{cell.plugin}/{record.id}.json")


def _figures(record: Record) -> list[tuple[str, float, tuple[float, float] | None]]:
    names = sorted((name for name in record.metrics if "/" not in name),
                   key=lambda name: (name != record.primary, name))
    return [(words.metric_name(name), record.metrics[name], record.ci95.get(name)) for name in names]


def _points(record: Record) -> Items:
    return [(name, f"{words.percent(value)} %") for name, value in sorted(record.metrics.items()) if "/" in name]


def _facts(record: Record) -> Items:
    n = record.n
    return [("pretrained on", record.cell.pretrained_on),
            ("clips", f"{n.train} training, {n.val} of them held out; {n.test} test"),
            ("classes", str(record.num_classes)), ("suite", record.suite), ("pretraining", record.pretrain_id),
            ("selection", f"{record.selection} epoch"),
            ("chosen on held-out subjects", ", ".join(f"{key} = {words.chosen(value)}"
                                                      for key, value in sorted(record.chosen.items()))),
            ("started", record.started), ("finished", record.finished)]


def _note(record: Record) -> str:
    git = record.env.get("git")
    dirty = isinstance(git, Mapping) and git.get("dirty")
    return ("Run from the repository. The working tree had changes when this record was made, so the commit alone does "
            "not tell its code." if dirty else "Run from the repository; the id of the new record says whether "
            "everything that can change the number agrees.")


def _cost(record: Record) -> Items:
    times = [(f"{name}, s", f"{value:,.2f}") for name, value in sorted(record.time_s.items())]
    return times + [(name.replace("_", " ").replace(" mb", ", MB"), _number(value))
                    for name, value in sorted(record.cost.items()) if value is not None]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def items(values: Mapping[str, Any]) -> Items:
    """Nested values as dotted names and texts, in order of the names."""
    return [(name, _text(value)) for name, value in sorted(flat(values).items())]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
