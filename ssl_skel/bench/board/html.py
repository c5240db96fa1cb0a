"""A board as one HTML page that opens from disk: no network, every string of a plugin escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from ssl_skel.bench.board import charts, words
from ssl_skel.bench.board.ablation import AblationGrid
from ssl_skel.bench.board.means import MEMBERS
from ssl_skel.bench.board.model import Board, Row, Table, Track
from ssl_skel.bench.provenance import reproduce
from ssl_skel.bench.record import Record

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the overview; `track` where it is not the first, because that value is not comparable."""

    text: str
    value: float | None = None
    first: bool = False
    track: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the overview: a method over all tables."""

    row: Row
    cells: tuple[Cell, ...]


def render_html(board: Board, grids: Sequence[AblationGrid] = ()) -> str:
    """Render a board as a page.

    Args:
        board: From `build_board`.
        grids: Ablations, drawn as heat maps.
    """
    script = _asset("board.js")
    policy = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template("board.html.j2").render(
        board=board, tables=[_TableView(board, table) for table in board.tables], overview=_overview(board),
        grids=[_GridView(grid) for grid in grids], words=words, style=_asset("board.css"), script=script,
        script_hash=policy, choices=_choices(board), counts=_counts(board))
    return page if page.endswith("\n") else page + "\n"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(loader=PackageLoader("ssl_skel.bench.board"), autoescape=True, trim_blocks=True,
                       lstrip_blocks=True, undefined=StrictUndefined)
    made.filters["pretty"] = _pretty
    made.filters["sortable"] = lambda value: "" if value is None else f"{value:.6f}"
    return made


def _asset(name: str) -> str:
    folder = resources.files("ssl_skel.bench.board") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


class _TableView:
    """What the template shows of a table."""

    def __init__(self, board: Board, table: Table) -> None:
        self.table = table
        self.metric = words.metric_name(table.metric)
        self.others = words.other_metrics(table)
        self.scale = charts.make_scale(table)
        self.floor = charts.floor_mark(table, self.scale)
        self.published_marks = charts.published_marks(table.published, self.scale)
        self.scatters = charts.make_scatters(table)
        self.tracks = [_TrackView(self, table, track, number) for number, track in enumerate(table.tracks)]
        self.hidden = words.hidden(table)
        self.width, self.height = charts.STRIP_W, charts.STRIP_H
        self.span = 11 + len(self.others)

    @property
    def best(self) -> Row | None:
        """The first of track A."""
        return next((row for track in self.table.tracks[:1] for row in track.rows if row.rank == 1), None)


class _TrackView:
    def __init__(self, view: _TableView, table: Table, track: Track, number: int) -> None:
        self.track = track
        self.title = words.track_title(track) if track.differs else ""
        self.conditions = words.conditions(track)
        self.rows = [_RowView(view, table, track, row, f"{table.slug}-{number}-{place}")
                     for place, row in enumerate(track.rows)]


class _RowView:
    def __init__(self, view: _TableView, table: Table, track: Track, row: Row, anchor: str) -> None:
        self.row = row
        self.id = anchor
        self.method = words.method(row)
        self.streams = words.streams(row)
        self.rank = words.rank(row)
        self.rank_key = row.rank if row.rank is not None else 10_000
        self.marks = words.marks(row)
        self.badges = _badges(row)
        self.strip = charts.make_strip(row, view.scale)
        self.metrics = [(name, row.metrics.get(name)) for name in view.others]
        self.search = " ".join((self.method, row.key.backbone, self.streams, row.family, table.title, row.role,
                                track.name, *self.marks)).lower()
        self.details = [_detail(record, row.family) for record in row.records]


def _badges(row: Row) -> list[tuple[str, str]]:
    """Short marks: kind and text."""
    found: list[tuple[str, str]] = [(row.role, row.role)] if row.role != "ranked" else []
    if row.missing:
        found.append(("incomplete", "incomplete"))
    if row.stale:
        found.append(("stale", f"stale: {', '.join(row.stale)}"))
    return found


def _origin(record: Record) -> list[tuple[str, str]]:
    if MEMBERS in record.config:
        return [("mean of", ", ".join(f"{split} ({source})" for split, source in record.config[MEMBERS].items()))]
    return [("record", record.id), ("pretraining", record.pretrain_id)]


def _detail(record: Record, family: str) -> dict[str, Any]:
    return {
        "record": record, "reproduce": "\n".join(reproduce(record)),
        "metrics": [(words.metric_name(name), value, record.ci95.get(name))
                    for name, value in sorted(record.metrics.items())],
        "facts": [("family", family), *_origin(record),
                  ("suite", record.suite),
                  ("clips", f"{record.n.train} training, {record.n.val} of them held out; {record.n.test} test"),
                  ("chosen on held-out subjects", ", ".join(f"{k} = {v}" for k, v in sorted(record.chosen.items()))),
                  ("times, s", ", ".join(f"{k} {v:.1f}" for k, v in sorted(record.time_s.items()))),
                  ("predictions, sha256", record.predictions.sha256), ("finished", record.finished)]}


class _GridView:
    """A heat map: each cell with its text and how strong it is, 0 to 1."""

    def __init__(self, grid: AblationGrid) -> None:
        self.grid = grid
        low, high = grid.range()
        self.low, self.high = words.percent(low), words.percent(high)
        self.metric = words.metric_name(grid.metric)
        self.lines = [(row, [self._cell(row, col, low, high) for col in grid.cols]) for row in grid.rows]

    def _cell(self, row: str, col: str, low: float, high: float) -> dict[str, Any] | None:
        cell = self.grid.cells.get((row, col))
        if cell is None:
            return None
        share = (cell.mean - low) / (high - low) if high > low else 0.5
        spread = words.grid_cell(cell).removeprefix(words.percent(cell.mean)).strip()
        return {"text": words.percent(cell.mean), "spread": spread, "count": cell.count, "best": cell.mean == high,
                "opacity": f"{0.1 + 0.9 * share:.2f}"}


def _overview(board: Board) -> list[Summary]:
    """Every method once, with its best value in each table; nothing where there is one table."""
    if len(board.tables) < 2:
        return []
    rows: dict[tuple[Any, ...], Row] = {}
    cells: dict[tuple[Any, ...], dict[int, Cell]] = {}
    for number, table in enumerate(board.tables):
        for place, track in enumerate(table.tracks):
            for row in track.rows:
                if row.mean is None or row.evaluator:
                    continue
                key = (row.key, row.variant, row.role)
                rows.setdefault(key, row)
                cell = Cell(words.percent(row.mean), row.mean, not place and row.rank == 1, track.name if place else "")
                cells.setdefault(key, {}).setdefault(number, cell)
    empty = Cell(words.DASH)
    places = range(len(board.tables))
    found = [Summary(row, tuple(cells[key].get(n, empty) for n in places)) for key, row in rows.items()]
    return sorted(found, key=lambda summary: _strength(summary, found))


def _strength(summary: Summary, others: Sequence[Summary]) -> tuple[float, str]:
    """Order methods by the share of the others that they beat, over the tables that they are in."""
    shares = []
    for place, cell in enumerate(summary.cells):
        values = [other.cells[place].value for other in others]
        against = [value for value in values if value is not None]
        if cell.value is not None and len(against) > 1:
            shares.append(sum(value < cell.value for value in against) / (len(against) - 1))
    return (-sum(shares) / len(shares) if shares else 0.0, f"{summary.row.key}{summary.row.variant}")


def _choices(board: Board) -> list[tuple[str, str, list[str]]]:
    """Filters: attribute, name, values."""
    rows = [row for table in board.tables for row in table.rows()]
    found = [("dataset", "Dataset", {table.dataset for table in board.tables}),
             ("split", "Split", {table.split for table in board.tables}),
             ("evaluator", "Protocol", {table.evaluator for table in board.tables}),
             ("family", "Family", {row.family for row in rows if row.family}),
             ("backbone", "Backbone", {row.key.backbone for row in rows})]
    return [(attribute, name, sorted(values)) for attribute, name, values in found if values]


def _counts(board: Board) -> list[tuple[int, str]]:
    methods = {row.key.plugin for table in board.tables for row in table.rows()}
    datasets = {(table.dataset, table.split) for table in board.tables}
    evaluators = {table.evaluator for table in board.tables}
    return [(len(methods), "method"), (len(datasets), "split"), (len(evaluators), "protocol"),
            (len(board.record_ids), "record")]
