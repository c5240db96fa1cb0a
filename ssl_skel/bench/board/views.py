"""What the templates show of tables, tracks and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_skel.bench.board import charts, words
from ssl_skel.bench.board.ablation import AblationGrid
from ssl_skel.bench.board.means import members
from ssl_skel.bench.board.model import Board, Row, Table, Track
from ssl_skel.bench.board.pages.classes import protocol_order
from ssl_skel.bench.board.pages.series import LineChart, curve_groups, protocol_charts
from ssl_skel.bench.provenance import reproduce
from ssl_skel.bench.record import Record

HEADINGS = {"params": "Params", "pretraining": "Training", "clips/s": "Clips/s", "peak memory": "Memory",
            "energy": "Energy"}
"""Shorter names of columns of cost, where they are narrow."""

OTHERS = 2
"""Further metrics that are columns; all stand in the details."""

CURVES = 6
"""Methods in one chart of curves."""

FOLDED = 15
"""Rows of a track that are shown before the others are asked for."""


class TableView:
    """One table: its scale, strips, charts and tracks."""

    def __init__(self, board: Board, table: Table) -> None:
        self.table = table
        self.metric = words.metric_name(table.metric)
        self.others = words.other_metrics(table)[:OTHERS]
        self.scale = charts.make_scale(table)
        self.floor = charts.floor_mark(table, self.scale)
        self.published_marks = charts.published_marks(table.published, self.scale)
        self.scatters = charts.make_scatters(table)
        self.costs = [(HEADINGS.get(name, name), value, text) for name, value, text in words.costs(board)]
        self.tracks = [TrackView(self, track, number) for number, track in enumerate(table.tracks)]
        self.hidden = words.hidden(table)
        self.span = 7 + len(self.others) + len(self.costs)
        self.curves = _curves(table)
        self.best = _best(table)


class TrackView:
    """One track of a table."""

    def __init__(self, view: TableView, track: Track, number: int) -> None:
        self.track = track
        self.title = words.track_title(track) if track.differs else ""
        self.conditions = words.conditions(track)
        self.rows = [RowView(view, track, row, f"{view.table.slug}-{number}-{place}")
                     for place, row in enumerate(track.rows)]
        self.ranked = sum(row.rank is not None for row in track.rows)
        self.folded = max(0, len(self.rows) - FOLDED) if len(self.rows) > FOLDED + 5 else 0


class RowView:
    """One row: texts, what sorts it, what search finds, and its seeds."""

    def __init__(self, view: TableView, track: Track, row: Row, anchor: str) -> None:
        self.row = row
        self.id = anchor
        self.method = words.method(row)
        self.streams = words.streams(row)
        self.rank = words.rank(row)
        self.rank_key = row.rank if row.rank is not None else 10_000
        self.marks = words.marks(row)
        self.badges = badges(row)
        self.strip = charts.make_strip(row, view.scale)
        self.metrics = [(name, row.metrics.get(name)) for name in view.others]
        self.costs = [(name, value(row.cost), text(row.cost)) for name, value, text in view.costs]
        self.search = " ".join((self.method, row.key.backbone, self.streams, row.family, view.table.title, row.role,
                                track.name, *self.marks)).lower()
        self.seeds = [SeedView(record) for record in row.records]


@dataclass(frozen=True)
class SeedView:
    """One record of a row."""

    record: Record

    @property
    def metrics(self) -> list[tuple[str, float]]:
        """Name for people and value, the primary one first; points of curves are left out."""
        found = self.record.metrics
        names = sorted((name for name in found if "/" not in name),
                       key=lambda name: (name != self.record.primary, name))
        return [(words.metric_name(name), found[name]) for name in names]

    @property
    def reproduce(self) -> str:
        """The commands that make it again."""
        return "\n".join(reproduce(self.record))

    @property
    def members(self) -> list[tuple[str, str]]:
        """(split, record) of a mean over splits."""
        return list(members(self.record).items())


def badges(row: Row) -> list[tuple[str, str]]:
    """Short marks: kind and text."""
    found: list[tuple[str, str]] = [(row.role, row.role)] if row.role != "ranked" else []
    if row.missing:
        found.append(("incomplete", "incomplete"))
    if row.stale:
        found.append(("stale", f"stale: {', '.join(row.stale)}"))
    return found


def _best(table: Table) -> Row | None:
    """The first of the main track."""
    return next((row for track in table.tracks[:1] for row in track.rows if row.rank == 1), None)


def _curves(table: Table) -> list[LineChart]:
    """Curves of the best rows, one a plugin and backbone, and of the floor."""
    seen: dict[tuple[str, str], tuple[str, Row]] = {}
    for row in (row for track in table.tracks[:1] for row in track.rows):
        if row.mean is not None and curve_groups(row.metrics):
            seen.setdefault((row.key.plugin, row.key.backbone), (f"{words.method(row)}, {row.key.backbone}", row))
    rows = list(seen.values())
    floors = [one for one in rows if one[1].role == "floor"][:1]
    others = [one for one in rows if one[1].role != "floor"][:CURVES - len(floors)]
    return protocol_charts([*others, *floors])


class GridView:
    """A heat map: each cell with its text and how strong it is, 0 to 1."""

    def __init__(self, grid: AblationGrid) -> None:
        self.grid = grid
        low, high = grid.range()
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


def table_views(board: Board) -> list[TableView]:
    """Views of all tables, by dataset and split, the usual protocols first."""
    order = sorted(board.tables, key=lambda table: (table.dataset, table.split, protocol_order(table.evaluator)))
    return [TableView(board, table) for table in order]


def places(views: Sequence[TableView], plugin: str) -> list[tuple[TableView, TrackView, RowView]]:
    """Every row of a plugin, with its table and track."""
    return [(view, track, row) for view in views for track in view.tracks for row in track.rows
            if row.row.key.plugin == plugin and not row.row.evaluator]
