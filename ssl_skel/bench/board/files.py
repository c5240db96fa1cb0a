"""Board folders: written with a manifest of the records that went in, and checked against what these give now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ssl_skel import fsio, yamlio
from ssl_skel.bench.board.ablation import AblationGrid, find_ablations
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.data import render_csv, render_json
from ssl_skel.bench.board.folder import FILES, MANIFEST, extra_files, refuse_foreign, write_changed, write_pages
from ssl_skel.bench.board.html import render_html
from ssl_skel.bench.board.matrix import find_matrices
from ssl_skel.bench.board.means import Groups
from ssl_skel.bench.board.model import FLOOR, Board
from ssl_skel.bench.board.pages.facts import Facts, gather_facts
from ssl_skel.bench.board.pages.site import FOLDER, Site, render_pages
from ssl_skel.bench.board.text import render_latex, render_markdown
from ssl_skel.bench.planfile import PlanFile, PlannedCell, read_plan
from ssl_skel.bench.predictions import check_scores
from ssl_skel.bench.published import load_published
from ssl_skel.bench.record import CellId, Record
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import BadRecord, DigestMismatch, SkelError, UsageMistake
from ssl_skel.jsonio import read_json
from ssl_skel.registry import discover
from ssl_skel.schema import NAME, Model, PluginCard

ALL = "all"
MAX_MANIFEST_BYTES = 50_000_000
Current = Callable[[Record], Mapping[str, str] | None]
"""Gives the digests that a record would carry today, by name of the part; None where that is unknown."""

AGAIN = "Render it again with `ssl-skel bench board`."


class Manifest(Model):
    """``manifest.json`` of a board: what it was rendered from, besides the records themselves.

    Attributes:
        records: Ids of all records that went in.
        planned: Cells that were waited for.
        families: Plugin -> family, as the cards said.
        stale: Record -> parts that had changed since it was made.
        facts: What the pages say of plugins and datasets; None where the board has its index only.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    name: str
    title: str
    baseline: str
    incomplete: bool
    records: tuple[CellId, ...]
    planned: tuple[PlannedCell, ...]
    families: dict[str, str]
    stale: dict[str, tuple[str, ...]]
    facts: Facts | None = None


@dataclass(frozen=True)
class Rendered:
    """A board in every format, its manifest, and what its pages are rendered from.

    Attributes:
        board: With all rows.
        grids: Ablations and matrices.
        manifest: With what its pages say, unless none are wanted.
        records: That went in.
        store: Where they are.
        pages_asked: What was asked of its pages; None leaves it to the folder that the board is saved in.
    """

    board: Board
    grids: tuple[AblationGrid, ...]
    manifest: Manifest
    records: tuple[Record, ...]
    store: RecordStore
    pages_asked: bool | None = None

    def for_folder(self, folder: Path) -> Rendered:
        """The same board, without pages where nobody asked for any and the folder's earlier board has none."""
        old = _read_manifest(folder) if self.pages_asked is None else None
        if old is None or old.facts is not None:
            return self
        return replace(self, manifest=self.manifest.model_copy(update={"facts": None}))

    def text(self, form: str) -> str:
        """One format: ``html``, ``md``, ``csv``, ``json`` or ``tex``."""
        if form in ("csv", "tex"):
            return render_csv(self.board) if form == "csv" else render_latex(self.board)
        if form == "html":
            return render_html(self.board, self.grids, self.manifest.facts)
        return {"md": render_markdown, "json": render_json}[form](self.board, self.grids)

    def pages(self) -> dict[str, str]:
        """Name and text of every page beside the index; empty where the board has its index only."""
        facts = self.manifest.facts
        if facts is None or not self.records:
            return {}
        return dict(render_pages(Site(self.board, self.records, facts, self.manifest.stale, self.store)))


@dataclass(frozen=True)
class BoardRequest:
    """Which board.

    Attributes:
        suite: Only records of this suite; None takes all.
        baseline: Plugin that the others are compared with; None takes the plan's.
        incomplete: Show incomplete rows.
        current: Digests that a record would carry today, to mark stale ones; None marks nothing.
        families: Plugin -> family; None takes that of the cards.
        cards: Of plugins; None takes those of the registry.
        pages: Whether pages of methods, datasets and cells are written too; None writes them unless
            the board is saved over one that has none.
    """

    suite: str | None = None
    baseline: str | None = None
    incomplete: bool = False
    current: Current | None = None
    families: Mapping[str, str] | None = None
    cards: Mapping[str, PluginCard] | None = None
    pages: bool | None = None

    @property
    def name(self) -> str:
        """Of the board and its folder."""
        name = self.suite or ALL
        if not NAME.match(name):
            raise UsageMistake(f"{name[:60]!r} is no suite name")
        return name


def suite_records(store: RecordStore, suite: str) -> list[Record]:
    """Records that the board of a suite shows, under the names that its rows have there.

    They are more than those that were made under that suite's name: suites share what they have in common.

    Raises:
        BadRecord: If a record or the plan is torn, edited or misplaced.
    """
    return _choose(store.all(), suite, _plans(store, BoardRequest(suite))[2])


def _plans(store: RecordStore,
           request: BoardRequest) -> tuple[PlanFile | None, Manifest | None, tuple[PlannedCell, ...]]:
    """The folder's plan if it is the board's own, the manifest of its last rendering, and the cells of either."""
    plan = read_plan(store.root)
    if plan is not None and request.suite not in (None, plan.suite):
        plan = None
    old = _read_manifest(store.root / "boards" / request.name)
    return plan, old, plan.cells if plan else old.planned if old else ()


def make_board(store: RecordStore, request: BoardRequest) -> Rendered:
    """Build a board from the records of a store.

    Raises:
        BadRecord: If a record, the plan or predictions are torn, edited or misplaced.
    """
    plan, old, planned = _plans(store, request)
    records = store.all()
    cells = [record.cell for record in records] + [one.cell for one in planned]
    facts = gather_facts(cells, discover(), request.cards)
    families = {name: str(card.family) for name, card in facts.plugins.items()}
    manifest = Manifest(
        name=request.name, title=(plan.title if plan else "") or (old.title if old else "")
        or (request.suite or "All records"),
        baseline=request.baseline or (plan.baseline if plan else "") or (old.baseline if old else "") or FLOOR,
        incomplete=request.incomplete, records=(), planned=planned,
        families=dict(families if request.families is None else request.families),
        stale=_stale(records, request.current), facts=None if request.pages is False else facts)
    return replace(_render(store, records, manifest), pages_asked=request.pages)


def _stale(records: Iterable[Record], current: Current | None) -> dict[str, tuple[str, ...]]:
    """Parts in which records differ from what they would be today; records that differ in nothing are left out."""
    found = {}
    for record in records if current else ():
        had, now = record.digests.model_dump(), (current(record) if current else None) or {}
        if parts := tuple(sorted(part for part, value in now.items() if had.get(part) != value)):
            found[record.id] = parts
    return found


def _render(store: RecordStore, records: Iterable[Record], wanted: Manifest) -> Rendered:
    suite = None if wanted.name == ALL else wanted.name
    chosen = _choose(records, suite, wanted.planned)
    given = BoardInput(chosen, wanted.planned, store.failures() if wanted.incomplete else (), load_published(),
                       wanted.families, wanted.stale, store.read_predictions, _groups(chosen))
    board = build_board(given, wanted.name, wanted.title, wanted.baseline, wanted.incomplete)
    kept: dict[str, Any] = {"records": board.record_ids, "stale": {
        name: parts for name, parts in wanted.stale.items() if name in board.record_ids}}
    if wanted.facts is not None:
        kept["facts"] = wanted.facts.only(record.cell for record in chosen)
    grids = (*find_ablations(chosen), *find_matrices(chosen))
    return Rendered(board, grids, wanted.model_copy(update=kept), tuple(chosen), store)


def _choose(records: Iterable[Record], suite: str | None, planned: Iterable[PlannedCell]) -> list[Record]:
    """Records of a suite; a plan that names a record also says what its row is called."""
    cells = {cell.id: cell.cell for cell in planned}
    chosen = []
    for record in records:
        if record.id in cells:
            chosen.append(record.model_copy(update={"cell": cells[record.id]}))
        elif suite is None or (not cells and record.suite == suite):
            chosen.append(record)
    return chosen


def _groups(records: Iterable[Record]) -> Groups:
    """Groups of splits of the registered datasets."""
    catalogue, found = discover(), {}
    for name in sorted({record.cell.dataset for record in records}):
        try:
            card = catalogue.load("datasets", name.partition("+")[0])
        except SkelError:
            continue
        if card.groups:
            found[name] = card.groups
    return found


def write_boards(store: RecordStore, suite: str | None = None, baseline: str | None = None,
                 incomplete: bool = False, current: Current | None = None,
                 families: Mapping[str, str] | None = None, pages: bool | None = None,
                 cards: Mapping[str, PluginCard] | None = None) -> list[Path]:
    """Render a board in every format into ``boards/<suite>/`` of a store.

    Args:
        store: Where the records are.
        suite: Only this suite; None writes ``boards/all``.
        baseline: Plugin that the others are compared with.
        incomplete: Show incomplete rows.
        current: Marks stale records (see `BoardRequest`).
        families: Plugin -> family; None takes the registry's.
        pages: Whether to write pages of methods, datasets and cells (see `BoardRequest`).
        cards: Of plugins; None takes those of the registry.

    Returns:
        The paths written, the page first.

    Raises:
        BadRecord: If a record does not agree with itself.
        OutputError: If the folder can't be written, or holds files that no board made.
    """
    rendered = make_board(store, BoardRequest(suite, baseline, incomplete, current, families, cards, pages))
    folder = fsio.make_folder(store.root, "boards", rendered.board.name)
    return save_board(rendered, folder)


def save_board(rendered: Rendered, folder: Path) -> list[Path]:
    """Write a rendered board into a folder that exists, over an earlier one but over nothing else.

    Where the request left pages open, they are kept as that earlier board has them; a new folder gets them.

    Raises:
        OutputError: If the folder can't be written, or holds files that no board made.
    """
    refuse_foreign(folder, _is_board(folder))
    rendered = rendered.for_folder(folder)
    texts = {name: rendered.text(form) for form, name in FILES.items()}
    pages = rendered.pages()
    fsio.write_atomic(folder / MANIFEST, _dump(rendered.manifest))
    write_pages(folder, pages)
    for name, text in texts.items():
        write_changed(folder / name, text)
    return [folder / name for name in FILES.values()]


def _is_board(folder: Path) -> bool:
    try:
        return _read_manifest(folder) is not None
    except BadRecord:
        return False


def check_boards(store: RecordStore, suite: str | None = None, current: Current | None = None) -> list[str]:
    """Check every record and every board of a store.

    Args:
        store: Where records and boards are.
        suite: Only the board of this suite; None checks all boards.
        current: Fails on a record that became stale since its board was written; None takes the marks as they are.

    Returns:
        Names of the boards that were checked.

    Raises:
        BadRecord: If a record was removed or does not agree with its path, seal, predictions or scores.
        DigestMismatch: If a board is not, byte for byte, what its records give.
    """
    records = store.all()
    for record in records:
        check_scores(record, store.read_predictions(record))
    names = [suite] if suite else _board_names(store.root / "boards")
    if not names:
        raise BadRecord(f"there is no board under {store.root / 'boards'}", "Render one: `ssl-skel bench board`.")
    for name in names:
        _check_board(store, records, store.root / "boards" / name, current)
    return names


def _board_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / MANIFEST).is_file())


def _check_board(store: RecordStore, records: list[Record], folder: Path, current: Current | None) -> None:
    manifest = _read_manifest(folder)
    if manifest is None:
        raise BadRecord(f"{folder} has no {MANIFEST}", AGAIN)
    here = {record.id for record in records}
    for record_id in manifest.records:
        if record_id not in here:
            raise BadRecord(f"record {record_id}, which board {manifest.name!r} was made from, is gone",
                            "Restore it, or render the board again without it.")
    if current is not None:
        _check_stale(manifest, [record for record in records if record.id in manifest.records], current)
    rendered = _render(store, records, manifest)
    added = sorted(set(rendered.manifest.records) - set(manifest.records))
    if added:
        raise DigestMismatch(f"board {manifest.name!r} lacks record {added[0]}", AGAIN)
    pages = rendered.pages()
    for name, text in ((MANIFEST, _dump(rendered.manifest)),
                       *((name, rendered.text(form)) for form, name in FILES.items()),
                       *((f"{FOLDER}/{name}", text) for name, text in pages.items())):
        _compare(folder / name, text)
    for path in extra_files(folder, pages):
        raise DigestMismatch(f"{path} is no part of board {manifest.name!r}", "Remove it, or move it elsewhere.")


def _compare(path: Path, text: str) -> None:
    try:
        found = path.read_bytes()
    except OSError as error:
        raise DigestMismatch(f"can't read {path}: {error.strerror}", AGAIN) from None
    if found != text.encode("utf-8", "backslashreplace"):
        raise DigestMismatch(f"{path} is not what its records give{_where(found, text)}", AGAIN)


def _check_stale(manifest: Manifest, records: list[Record], current: Current) -> None:
    now = _stale(records, current)
    for record_id in sorted(set(now) | set(manifest.stale)):
        if now.get(record_id) != manifest.stale.get(record_id):
            parts = ", ".join(now.get(record_id, ())) or "nothing"
            raise DigestMismatch(f"board {manifest.name!r} does not say what has changed since record {record_id} was "
                                 f"made: {parts}", AGAIN)


def _where(found: bytes, text: str) -> str:
    """Say where two texts part, for whoever looks for the edit."""
    lines, wanted = found.decode("utf-8", "replace").splitlines(), text.splitlines()
    for number, (line, other) in enumerate(zip(lines, wanted), start=1):
        if line != other:
            return f", from line {number}"
    return f", after line {min(len(lines), len(wanted))}"


def _read_manifest(folder: Path) -> Manifest | None:
    path, remedy = folder / MANIFEST, "Remove the board and render it again."
    try:
        return Manifest.model_validate(read_json(path, MAX_MANIFEST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise BadRecord(f"{path}: {yamlio.describe(error, Manifest)}", remedy) from None
    except (OSError, ValueError) as error:
        raise BadRecord(f"{path} is torn: {error}", remedy) from None


def _dump(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n"
