"""The page of one method: card, deviations, results, classes, curves, cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_skel.bench.board import words
from ssl_skel.bench.board.model import Row, Table
from ssl_skel.bench.board.pages.cell import Items, items
from ssl_skel.bench.board.pages.classes import ClassTable, has_predictions
from ssl_skel.bench.board.pages.series import LineChart, Series, curve_groups, draw, protocol_charts, read_series
from ssl_skel.bench.board.pages.site import Site, class_tables
from ssl_skel.bench.board.pages.templating import render
from ssl_skel.bench.board.views import RowView, TableView, TrackView, places
from ssl_skel.bench.record import Record
from ssl_skel.schema import PluginCard

MAX_CURVES = 6
"""Scalars of a training that are drawn, and trainings in one chart."""

Cell = tuple[str, Any] | tuple[str, Any, str]
"""What a table shows, what sorts it, and perhaps a class of the style sheet."""


def render_plugin(site: Site, name: str) -> str:
    """Render the page of a plugin that has records."""
    card = site.facts.plugins.get(name)
    found = places(site.views, name)
    used = {view.table.slug: view for view, _, _ in found}
    families = [item.row.family for _, _, item in found if item.row.family]
    return render(
        "plugin.html.j2", inline=False, board=site.board, words=words, name=name, card=card,
        family=card.family if card else next(iter(families), ""), card_facts=_card_facts(card) if card else [],
        results=found, backdrops=list(used.values()), protocol_charts=_under_protocols(found),
        classes=_classes(site, name), curves=_curves(site, name),
        cost_headings=[("Test set", "text"), ("Backbone and streams", "text"),
                       *((heading, "number") for heading, _, _ in (site.views[0].costs if site.views else []))],
        cost_rows=_cost_rows(found))


def _card_facts(card: PluginCard) -> Items:
    paper = card.paper
    printed = (paper.venue, str(paper.year or ""), f"arXiv {paper.arxiv}" if paper.arxiv else "") if paper else ()
    return [("version", str(card.version)), ("paper", paper.title if paper else ""),
            ("authors", paper.authors if paper else ""), ("published", ", ".join(text for text in printed if text)),
            ("address", (paper.url or "") if paper else ""), ("licence", card.license),
            ("backbone", f"{card.backbones.default}; supported: {', '.join(card.backbones.supported)}"),
            ("skeletons", ", ".join(card.layouts)),
            ("persons", f"{card.persons.min} to {card.persons.max or 'any'}"),
            ("needs", ", ".join(card.requires)), ("over processes", card.distributed),
            ("training defaults", ", ".join(f"{key} {value}" for key, value in items(card.train))),
            ("method defaults", ", ".join(f"{key} {value}" for key, value in items(card.config)))]


def _cost_rows(found: Sequence[tuple[TableView, TrackView, RowView]]) -> list[list[Cell]]:
    rows: dict[tuple[str, str], list[Cell]] = {}
    for view, _, item in found:
        where = f"{view.table.dataset} {view.table.split}"
        what = " · ".join(text for text in (item.row.key.label, item.row.key.backbone, item.row.variant) if text)
        if item.row.records:
            rows.setdefault((where, what), [(where, where), (what, what),
                                            *((text, "" if value is None else f"{value:.6g}")
                                              for _, value, text in item.costs)])
    return [rows[key] for key in sorted(rows)]


# -- classes -------------------------------------------------------------------------------------------------


def _classes(site: Site, name: str) -> list[dict[str, Any]]:
    """Of each test set, the best row's accuracy by class and its confusions, beside the floor's."""
    found = []
    for table in class_tables(site.board):
        row = best_row(table, name)
        if row is None:
            continue
        floor = None if row.role == "floor" else _floor(table, row)
        found.append(_class_view(table, row, site.count(row), floor, site.count(floor) if floor else None))
    return found


def best_row(table: Table, plugin: str) -> Row | None:
    """The plugin's row with the highest mean, tracks in order, among those with predictions."""
    for track in table.tracks:
        rows = [row for row in track.rows if row.key.plugin == plugin and has_predictions(row) and not row.evaluator]
        if rows:
            return max(rows, key=lambda row: row.mean or 0.0)
    return None


def _floor(table: Table, row: Row) -> Row | None:
    """The floor of the same backbone, else the best one, on the same clips."""
    rows = [other for other in table.rows() if other.role == "floor" and has_predictions(other)
            and other.records[0].n == row.records[0].n]
    return max(rows, key=lambda other: (other.key.backbone == row.key.backbone, other.mean or 0.0), default=None)


def _class_view(table: Table, row: Row, counted: ClassTable, floor: Row | None,
                below: ClassTable | None) -> dict[str, Any]:
    headings = [("Class", "text"), ("Clips", "number"), ("Accuracy", "number")]
    rows: list[list[Cell]] = []
    for place, (name, clips, share) in enumerate(zip(counted.names, counted.clips, counted.recall)):
        cells: list[Cell] = [(name, name), (str(clips), clips), share_cell(share)]
        if below is not None:
            base = below.recall[place]
            gain = share - base if share is not None and base is not None else None
            cells += [share_cell(base), (words.DASH if gain is None else f"{100 * gain:+.1f}",
                                         "" if gain is None else f"{gain:.6g}")]
        rows.append(cells)
    if below is not None:
        headings += [("Floor", "number"), ("Gain", "number")]
    note = f"{words.method(row)}, {row.key.backbone}, {words.streams(row)}; {words.seeds(row)}, percent of clips"
    note += f"; floor: {floor.key.backbone}" if floor is not None else ""
    return {"title": f"{table.dataset} {table.split}, {table.evaluator}", "note": f"{note}.", "headings": headings,
            "rows": rows, "table": counted}


def share_cell(share: float | None) -> Cell:
    """A share with its shade."""
    if share is None:
        return (words.DASH, "")
    return (words.percent(share), f"{share:.6g}", f"shaded t{min(int(share * 5), 4)}")


# -- curves --------------------------------------------------------------------------------------------------


def _under_protocols(found: Sequence[tuple[TableView, TrackView, RowView]]) -> list[tuple[str, list[LineChart]]]:
    """Curves that a protocol measured, of the plugin's rows on each test set."""
    titles: dict[str, list[tuple[str, Row]]] = {}
    for view, track, item in found:
        if curve_groups(item.row.metrics) and not track.title:
            name = f"{item.method}, {item.row.key.backbone}, {item.streams}"
            titles.setdefault(view.table.title, []).append((name, item.row))
    return [(title, protocol_charts(rows[:MAX_CURVES])) for title, rows in sorted(titles.items())]


def _curves(site: Site, name: str) -> list[tuple[str, list[LineChart]]]:
    """Training curves: a group of charts for each backbone, label and split, a line a pretraining."""
    groups: dict[str, dict[str, Record]] = {}
    for record in sorted(site.records, key=lambda record: (record.cell.seed, record.pretrain_id)):
        cell = record.cell
        if cell.plugin == name:
            data = cell.pretrained_on or f"{cell.dataset}/{cell.split}"
            title = f"{data}, {cell.backbone}" + (f", {cell.label}" if cell.label else "")
            groups.setdefault(title, {}).setdefault(record.pretrain_id, record)
    charts, drawn = [], set[frozenset[str]]()
    for _, records in sorted(groups.items()):
        if frozenset(records) not in drawn and (made := _training_charts(site, list(records.values())[:MAX_CURVES])):
            drawn.add(frozenset(records))
            charts.append((_all_splits(groups, records), made))
    return charts


def _all_splits(groups: dict[str, dict[str, Record]], records: dict[str, Record]) -> str:
    """Names of all groups that come from the same pretrainings: splits that share their training part."""
    titles = [title for title, others in sorted(groups.items()) if frozenset(others) == frozenset(records)]
    return "; ".join(titles[:3]) + (f"; {len(titles) - 3} more" if len(titles) > 3 else "")


def _training_charts(site: Site, records: Sequence[Record]) -> list[LineChart]:
    read = [(record, read_series(site.store.pretrain_folder(record.pretrain_id) / "curves.jsonl"))
            for record in records]
    seeds = [record.cell.seed for record in records]
    unique = len(set(seeds)) == len(seeds)
    names = list(dict.fromkeys(name for _, series in read for name in series))[:MAX_CURVES]
    charts = []
    for name in names:
        lines = [Series(f"seed {record.cell.seed}" if unique else f"seed {record.cell.seed}, {record.pretrain_id[:6]}",
                        series[name].xs, series[name].ys) for record, series in read if name in series]
        charts.append(draw(name, "step", name, lines, markers=False))
    return [chart for chart in charts if chart is not None]
