"""A board as one HTML page that opens from disk: no network, every string of a plugin escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_skel.bench.board import words
from ssl_skel.bench.board.ablation import AblationGrid
from ssl_skel.bench.board.model import Board, Row
from ssl_skel.bench.board.pages.classes import protocol_order
from ssl_skel.bench.board.pages.facts import Facts
from ssl_skel.bench.board.pages.templating import render
from ssl_skel.bench.board.rank_plots import rank_plots, summary
from ssl_skel.bench.board.views import GridView, TableView, table_views

ONE_OVERVIEW = 8
"""Tables that fit into one overview; with more, each protocol gets its own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of an overview; `track` where it is not the first, because that value is not comparable."""

    text: str
    value: float | None = None
    first: bool = False
    track: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of an overview: a method over tables; `settings` of it are shown in the tables only."""

    row: Row
    cells: tuple[Cell, ...]
    settings: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Methods down, tables across; `evaluator` where all tables share it."""

    evaluator: str
    views: tuple[TableView, ...]
    rows: tuple[Summary, ...]


def render_html(board: Board, grids: Sequence[AblationGrid] = (), facts: Facts | None = None) -> str:
    """Render the index page of a board.

    Args:
        board: From `build_board`.
        grids: Ablations, drawn as heat maps.
        facts: Cards of plugins and datasets where the pages that they stand on are written too; None links to none.
    """
    views = table_views(board)
    return render("board.html.j2", inline=True, root="", pages=facts is not None, board=board, tables=views,
                  overviews=_overviews(views), ranks=rank_plots(board), rank_summary=summary,
                  grids=_grids(grids), words=words, costs=[name for name, _, _ in views[0].costs] if views else [],
                  choices=_choices(board), counts=_counts(board), methods=_methods(board, facts),
                  datasets=_datasets(board, facts))


def _overviews(views: Sequence[TableView]) -> list[Overview]:
    """One overview, or one for each protocol of several tables; none where there is one table."""
    views = [view for view in views if not view.table.diagnostic]
    if len(views) < 2:
        return []
    if len(views) <= ONE_OVERVIEW:
        return [Overview("", tuple(views), _summaries(views))]
    names = sorted({view.table.evaluator for view in views}, key=protocol_order)
    groups = [(name, [view for view in views if view.table.evaluator == name]) for name in names]
    return [Overview(name, tuple(group), _summaries(group)) for name, group in groups if len(group) > 1]


def _summaries(views: Sequence[TableView]) -> tuple[Summary, ...]:
    """Every method once, with its best value in each table, of whatever setting."""
    rows: dict[tuple[Any, ...], Row] = {}
    settings: dict[tuple[Any, ...], set[str]] = {}
    cells: dict[tuple[Any, ...], dict[int, Cell]] = {}
    for number, view in enumerate(views):
        for place, track in enumerate(view.table.tracks):
            for row in track.rows:
                if row.mean is None or row.evaluator:
                    continue
                key = (row.key, row.role)
                rows.setdefault(key, row)
                settings.setdefault(key, set()).add(row.variant)
                cell = Cell(words.percent(row.mean), row.mean, not place and row.rank == 1, track.name if place else "")
                cells.setdefault(key, {}).setdefault(number, cell)
    empty = Cell(words.DASH)
    found = [Summary(row, tuple(cells[key].get(n, empty) for n in range(len(views))), len(settings[key]))
             for key, row in rows.items()]
    return tuple(sorted(found, key=lambda one: _strength(one, found)))


def _strength(one: Summary, others: Sequence[Summary]) -> tuple[float, str]:
    """Order methods by the share of the others that they beat, over the tables that they are in."""
    shares = []
    for place, cell in enumerate(one.cells):
        values = [other.cells[place].value for other in others]
        against = [value for value in values if value is not None]
        if cell.value is not None and len(against) > 1:
            shares.append(sum(value < cell.value for value in against) / (len(against) - 1))
    return (-sum(shares) / len(shares) if shares else 0.0, str(one.row.key))


def _grids(grids: Sequence[AblationGrid]) -> list[tuple[str, list[GridView]]]:
    """Heat maps by kind, in the order of their first."""
    kinds = dict.fromkeys(grid.kind for grid in grids)
    return [(kind, [GridView(grid) for grid in grids if grid.kind == kind]) for kind in kinds]


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
    datasets = {(table.dataset, table.split) for table in board.tables}
    evaluators = {table.evaluator for table in board.tables}
    return [(len(_plugins(board)), "method"), (len(datasets), "split"), (len(evaluators), "protocol"),
            (len(board.record_ids), "record")]


def _plugins(board: Board) -> list[str]:
    return sorted({row.key.plugin for table in board.tables for row in table.rows()})


def _methods(board: Board, facts: Facts | None) -> list[dict[str, str]]:
    """The list of method pages; empty without pages."""
    if facts is None:
        return []
    families = {row.key.plugin: row.family for table in board.tables for row in table.rows()}
    found = []
    for name in _with_records(_plugins(board), (row for table in board.tables for row in table.rows())):
        card = facts.plugins.get(name)
        found.append({"name": name, "family": families.get(name, ""), "summary": card.summary if card else "",
                      "paper": card.paper.title if card and card.paper else ""})
    return found


def _with_records(names: Iterable[str], rows: Iterable[Row]) -> list[str]:
    """Only what has a record has a page."""
    present = {row.key.plugin for row in rows if row.records}
    return [name for name in names if name in present]


def _datasets(board: Board, facts: Facts | None) -> list[dict[str, str]]:
    """The list of dataset pages; empty without pages."""
    if facts is None:
        return []
    names = sorted({table.dataset for table in board.tables if any(row.records for row in table.rows())})
    found = []
    for name in names:
        known = facts.datasets.get(name.partition("+")[0])
        splits = sorted({table.split for table in board.tables if table.dataset == name})
        found.append({"name": name, "title": known.title if known else "", "splits": ", ".join(splits)})
    return found
