"""From records to a board: rows over seeds, tracks of comparable rows, ranks of complete rows only."""

from __future__ import annotations

import dataclasses
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ssl_skel.bench.board import comparable
from ssl_skel.bench.board.deltas import Deltas, PredictionSource, corrected
from ssl_skel.bench.board.means import Groups, mean_records
from ssl_skel.bench.board.model import FLOOR, RAW, Board, Delta, Missing, Role, Row, RowKey, Sanity, Table, Track
from ssl_skel.bench.board.rows import make_row, variants
from ssl_skel.bench.board.sanity import SHUFFLED, check_sanity
from ssl_skel.bench.planfile import PlannedCell
from ssl_skel.bench.published import PublishedFile, published_rows
from ssl_skel.bench.record import CellKey, Failure, Record

SUPERVISED = "finetune"
"""The evaluator whose row of the floor plugin is the supervised ceiling."""

TIE = 1e-9


@dataclass(frozen=True)
class BoardInput:
    """What a board is built from.

    Attributes:
        records: Any order.
        planned: Cells that are waited for; empty if no plan is known.
        failures: Say why a planned cell has no record.
        published: Shown beside.
        families: Plugin -> family.
        stale: Record id -> parts that have changed since it was made.
        predictions: Reads the predictions of a record, for paired comparisons; None leaves these out.
        groups: Splits over which a mean is shown too.
    """

    records: Sequence[Record]
    planned: Sequence[PlannedCell] = ()
    failures: Sequence[Failure] = ()
    published: PublishedFile | None = None
    families: Mapping[str, str] = field(default_factory=dict)
    stale: Mapping[str, Sequence[str]] = field(default_factory=dict)
    predictions: PredictionSource | None = None
    groups: Groups = field(default_factory=dict)


TableKey = tuple[str, str, str]


def build_board(given: BoardInput, name: str, title: str = "", baseline: str = FLOOR,
                incomplete: bool = False) -> Board:
    """Build a board.

    Args:
        given: Records and what is known around them.
        name: Of the suite, or ``all``.
        title: For people.
        baseline: Plugin that the others are compared with.
        incomplete: Show rows that lack planned seeds, unranked.

    Returns:
        Tables by dataset, split and evaluator, each with ranked tracks.
    """
    builder = _Builder(given, baseline, incomplete)
    keys = sorted(set(builder.records) | (set(builder.planned) if incomplete else set()))
    tables = tuple(builder.table(key) for key in keys)
    return Board(name, title or name, baseline, tables, tuple(sorted(record.id for record in given.records)),
                 incomplete)


class _Builder:
    def __init__(self, given: BoardInput, baseline: str, incomplete: bool) -> None:
        self.given, self.baseline, self.incomplete = given, baseline, incomplete
        self.deltas = Deltas(given.predictions, {record.id: record for record in given.records})
        self.sanity: dict[tuple[str, str], Sanity | None] = {}
        self.records: dict[TableKey, list[Record]] = defaultdict(list)
        self.planned: dict[TableKey, dict[RowKey, dict[int, PlannedCell]]] = defaultdict(dict)
        for record in (*given.records, *mean_records(given.records, given.groups)):
            self.records[_table_key(record.cell)].append(record)
        for cell in given.planned:
            rows = self.planned[_table_key(cell.cell)]
            rows.setdefault(row_key(cell.cell), {})[cell.cell.seed] = cell
        self.reasons = {failure.id: f"{failure.status}: {failure.message}" for failure in given.failures}

    def table(self, key: TableKey) -> Table:
        dataset, split, evaluator = key
        rows = [self._finish(row, key) for row in self._rows(key)]
        tracks = self._tracks(rows, key)
        shown = tuple(track for track in (self._visible(track) for track in tracks) if track.rows)
        hidden = 0 if self.incomplete else sum(bool(row.missing) for row in rows)
        hidden += 0 if self.incomplete else len(self._never_run(key))
        records = self.records.get(key, [])
        published = self.given.published
        beside = tuple(published_rows(published, dataset, split, evaluator)) if published else ()
        first = shown[0].rows[0].records if shown and shown[0].rows[0].records else records
        metric = first[0].primary if first else "top1"
        return Table(dataset, split, evaluator, metric, first[0].n.test if first else 0, shown, beside, hidden,
                     self._sanity(dataset, split), bool(rows) and all(row.role == "diagnostic" for row in rows))

    def _sanity(self, dataset: str, split: str) -> Sanity | None:
        """Of the label-shuffled probes on a split, or on all splits of a group."""
        key = (dataset, split)
        if key not in self.sanity:
            splits = self.given.groups.get(dataset, {}).get(split, (split,))
            probes = [record for record in self.given.records if record.cell.evaluator == SHUFFLED
                      and record.cell.dataset == dataset and record.cell.split in splits]
            self.sanity[key] = check_sanity(probes, self.given.predictions)
        return self.sanity[key]

    # -- rows ----------------------------------------------------------------------------------------------

    def _rows(self, key: TableKey) -> list[Row]:
        groups: dict[tuple[RowKey, tuple[str, ...]], list[Record]] = defaultdict(list)
        for record in self.records.get(key, []):
            digests = record.digests
            what = (digests.config, digests.plugin, digests.core, digests.dataset, digests.split)
            groups[row_key(record.cell), what].append(record)
        rows = [make_row(row, records, self.given.families.get(row.plugin, ""), self.given.stale)
                for (row, _), records in sorted(groups.items())]
        return variants(rows)

    def _finish(self, row: Row, key: TableKey) -> Row:
        planned = self.planned.get(key, {}).get(row.key)
        wanted = set(planned) if planned else {r.cell.seed for r in self.records.get(key, [])}
        lacking = sorted(wanted - set(row.seeds))
        missing = tuple(Missing(seed, self._reason(planned[seed]) if planned else "") for seed in lacking)
        interval = row.interval or self.deltas.interval(row)
        return dataclasses.replace(row, missing=missing, role=_role(row, key[2]), interval=interval)

    def _reason(self, cell: PlannedCell) -> str:
        return self.reasons.get(cell.id) or self.reasons.get(cell.pretrain_id, "")

    def _never_run(self, key: TableKey) -> list[Row]:
        """Planned rows without a single record."""
        present = {row_key(record.cell) for record in self.records.get(key, [])}
        rows = []
        for row, cells in self.planned.get(key, {}).items():
            if row not in present:
                missing = tuple(Missing(seed, self._reason(cell)) for seed, cell in sorted(cells.items()))
                family = self.given.families.get(row.plugin, "")
                rows.append(Row(row, family=family, missing=missing))
        return rows

    def _visible(self, track: Track) -> Track:
        if self.incomplete:
            return track
        return dataclasses.replace(track, rows=tuple(row for row in track.rows if not row.missing))

    # -- tracks --------------------------------------------------------------------------------------------

    def _tracks(self, rows: list[Row], key: TableKey) -> list[Track]:
        groups = comparable.group_comparable([row.records[0] for row in rows])
        never = self._never_run(key) if self.incomplete else []
        if not groups:
            return [Track("A", tuple(never))] if never else []
        main = groups[0][0]
        tracks = []
        for number, (conditions, positions) in enumerate(groups):
            members = [rows[position] for position in positions]
            ceiling = self._ceilings(key, members[0]) if number == 0 else []
            ranked = _rank(_corrected([self._compare(row, rows) for row in members]), self.deltas)
            tail = never if number == 0 else []
            tracks.append(Track(_letters(number), tuple(_sorted([*ranked, *ceiling]) + tail),
                                comparable.differences(conditions, main) if number else (),
                                conditions | comparable.facts(row.records[0] for row in members)))
        return tracks

    def _compare(self, row: Row, rows: Sequence[Row]) -> Row:
        """Compare with the baseline row that is closest in backbone and conditions."""
        others = [other for other in rows if other.key.plugin == self.baseline and other.role != "raw" and other.records
                  and comparable.same_test(other.records[0], row.records[0])]
        if (row.key.plugin == self.baseline and row.role != "raw") or row.role == "diagnostic" or not others:
            return row
        mine = comparable.conditions(row.records[0])

        def closeness(other: Row) -> tuple[int, int, float, str]:
            theirs = comparable.conditions(other.records[0])
            unlike = sum(theirs.get(name) != text for name, text in mine.items() if name != comparable.BUDGET)
            return (other.key.backbone != row.key.backbone, unlike, -(other.mean or 0.0), str(other.key))

        return dataclasses.replace(row, delta=self.deltas.between(row, min(others, key=closeness)))

    def _ceilings(self, key: TableKey, member: Row) -> list[Row]:
        """Supervised rows from the fine-tuning table of the same clips, best first, at most one a backbone."""
        dataset, split, evaluator = key
        if evaluator.startswith(SUPERVISED):
            return []
        best: dict[str, Row] = {}
        for row in self._rows((dataset, split, SUPERVISED)):
            supervised = _role(row, SUPERVISED) == "ceiling" and not row.key.pretrained_on
            fits = comparable.same_test(row.records[0], member.records[0]) and supervised
            if fits and row.records[0].primary == member.records[0].primary and \
                    (row.mean or 0) > (best[row.key.backbone].mean or 0 if row.key.backbone in best else -1):
                best[row.key.backbone] = dataclasses.replace(row, role="ceiling", evaluator=SUPERVISED)
        return list(best.values())


def row_key(cell: CellKey) -> RowKey:
    """The part of a cell that names its row."""
    return RowKey(cell.plugin, cell.label, cell.backbone, cell.streams, cell.fusion, cell.pretrained_on)


def _table_key(cell: CellKey) -> TableKey:
    return (cell.dataset, cell.split, cell.evaluator)


def _role(row: Row, evaluator: str) -> Role:
    if evaluator == SHUFFLED or any(record.selection != "last" for record in row.records):
        return "diagnostic"
    if row.key.plugin != FLOOR:
        return "ranked"
    if row.key.backbone == RAW:
        return "raw"
    return "ceiling" if evaluator.startswith(SUPERVISED) else "floor"


def _rank(rows: Sequence[Row], deltas: Deltas) -> list[Row]:
    """Give complete rows their competition rank (equal means share one); the others keep none."""
    complete = [row.role == "ranked" and not row.missing and row.mean is not None for row in rows]
    means = [row.mean or 0.0 for row, whole in zip(rows, complete) if whole]
    if not means:
        return list(rows)
    first = next(row for row, whole in zip(rows, complete) if whole and row.mean == max(means))

    behind = corrected([deltas.between(row, first) if whole and row is not first else None
                        for row, whole in zip(rows, complete)])

    def placed(row: Row, delta: Delta | None) -> Row:
        rank = 1 + sum(mean > (row.mean or 0.0) + TIE for mean in means)
        alike = delta is not None and delta.p is not None and not delta.clear  # metrics other than top-1 are not tested
        return dataclasses.replace(row, rank=rank, even=rank == 1 or alike)

    return [placed(row, delta) if whole else row for row, whole, delta in zip(rows, complete, behind)]


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Correct the differences to the baseline for their number."""
    return [dataclasses.replace(row, delta=delta)
            for row, delta in zip(rows, corrected([row.delta for row in rows]))]


def _sorted(rows: Sequence[Row]) -> list[Row]:
    def order(row: Row) -> tuple[bool, float, str]:
        return (bool(row.missing), -(row.mean if row.mean is not None else -1.0), str(row.key) + row.variant)

    return sorted(rows, key=order)


def _letters(number: int) -> str:
    letters = string.ascii_uppercase
    return letters[number] if number < 26 else _letters(number // 26 - 1) + letters[number % 26]
