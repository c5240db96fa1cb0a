"""All pages of a board folder beside its index, as file names and texts."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ssl_skel.bench.board.model import Board, Row, Table
from ssl_skel.bench.board.pages.classes import ClassTable, count_classes, has_predictions, protocol_order
from ssl_skel.bench.board.pages.facts import Facts, base_name
from ssl_skel.bench.board.pages.templating import SCRIPT, STYLE, asset
from ssl_skel.bench.board.views import TableView, table_views
from ssl_skel.bench.record import Record

if TYPE_CHECKING:
    from ssl_skel.bench.store import RecordStore

FOLDER = "pages"
ASSETS = {"style.css": STYLE, "script.js": SCRIPT}
OWN = re.compile(r"((plugin|dataset)-[a-z0-9+-]+|cell-[0-9a-f]{16})\.html\Z")
"""Names of pages; what is called otherwise was not made by a board."""


@dataclass(frozen=True)
class Site:
    """What the pages of a board are rendered from.

    Attributes:
        board: With all rows.
        records: That went in.
        facts: Cards.
        stale: Record id -> parts that have changed since it was made.
        store: For predictions, training curves and audits.
    """

    board: Board
    records: Sequence[Record]
    facts: Facts
    stale: Mapping[str, Sequence[str]]
    store: RecordStore
    _counted: dict[tuple[str, ...], ClassTable] = field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def views(self) -> list[TableView]:
        """Views of all tables, shared by the pages."""
        return table_views(self.board)

    def class_names(self, dataset: str) -> tuple[str, ...]:
        """Names of a dataset's classes; empty where its card is not known."""
        facts = self.facts.datasets.get(base_name(dataset))
        return facts.classes if facts else ()

    def count(self, row: Row) -> ClassTable:
        """Predictions of a row by class; each row is read once."""
        key = tuple(record.id for record in row.records)
        if key not in self._counted:
            names = self.class_names(row.records[0].cell.dataset)
            self._counted[key] = count_classes(row.records, self.store.read_predictions, names)
        return self._counted[key]


def class_tables(board: Board) -> list[Table]:
    """Of each test set, the table whose predictions are shown class by class."""
    chosen: dict[tuple[str, str], Table] = {}
    for table in sorted(board.tables, key=lambda table: protocol_order(table.evaluator)):
        if any(has_predictions(row) for row in table.rows()):
            chosen.setdefault((table.dataset, table.split), table)
    return [chosen[key] for key in sorted(chosen)]


def render_pages(site: Site) -> Iterator[tuple[str, str]]:
    """Render every page.

    Args:
        site: What they are rendered from.

    Yields:
        Name of a file in `FOLDER`, and its text.

    Raises:
        BadRecord: If predictions are missing or changed.
    """
    from ssl_skel.bench.board.pages.cell import render_cell
    from ssl_skel.bench.board.pages.dataset import render_dataset
    from ssl_skel.bench.board.pages.plugin import render_plugin

    for name, source in ASSETS.items():
        yield name, asset(source)
    for plugin in sorted({record.cell.plugin for record in site.records}):
        yield f"plugin-{plugin}.html", render_plugin(site, plugin)
    for dataset in sorted({record.cell.dataset for record in site.records}):
        yield f"dataset-{dataset}.html", render_dataset(site, dataset)
    for record in sorted(site.records, key=lambda record: record.id):
        yield f"cell-{record.id}.html", render_cell(site, record)
