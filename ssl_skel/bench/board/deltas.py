"""Differences between rows, paired over the test clips that both were asked about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.board.means import members
from ssl_skel.bench.board.model import Delta, Interval, Row
from ssl_skel.bench.pairing import ClipSet, join_shared
from ssl_skel.bench.record import Record
from ssl_skel.bench.stats import holm, over_datasets
from ssl_skel.seed import derive

if TYPE_CHECKING:
    from ssl_skel.bench.predictions import PredictionTable

DRAWS = 10_000

PredictionSource = Callable[[Record], "PredictionTable"]
Sets = dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]
"""Split -> names of its test clips, and the share of seeds that were right on each."""


class Deltas:
    """Compares rows; reads each record's predictions once.

    Args:
        source: Reads predictions; None gives differences of means without an interval.
        records: Id -> record, of the members of means over splits.
    """

    def __init__(self, source: PredictionSource | None, records: Mapping[str, Record]) -> None:
        self.source, self.records = source, records
        self._sets: dict[str, Sets] = {}

    def between(self, row: Row, other: Row) -> Delta:
        """Difference `row` - `other` of the primary metric, with a paired bootstrap interval over clips.

        Each clip's correctness is first averaged over the seeds of its row. There is an interval only for top-1 on the
        same clips in the same order. The splits of a mean are resampled by themselves, joined where they share clips.
        """
        value = (row.mean or 0.0) - (other.mean or 0.0)
        against = " ".join(text for text in (other.key.method, other.key.backbone, other.variant) if text)
        mine, theirs = self._of(row), self._of(other)
        if not mine or {k: v[0] for k, v in mine.items()} != {k: v[0] for k, v in theirs.items()}:
            return Delta(value, against)
        dataset = row.records[0].cell.dataset
        joined = join_shared([ClipSet(dataset, mine[split][0], mine[split][1], theirs[split][1]) for split in mine])
        seed = derive(0, "board", row.records[0].id, other.records[0].id)
        found = over_datasets([both.pair for both in joined], seed, DRAWS)
        return Delta(value, against, found.low, found.high, found.p)

    def interval(self, row: Row) -> Interval | None:
        """Bootstrap interval over the clips of a mean over splits, of one seed."""
        sets, dataset = self._of(row), row.records[0].cell.dataset
        if not sets:
            return None
        joined = join_shared([ClipSet(dataset, clips, right, np.zeros(len(right))) for clips, right in sets.values()])
        found = over_datasets([both.pair for both in joined], derive(0, "board", row.records[0].id), DRAWS)
        return Interval(found.low, found.high, "clips")

    def _of(self, row: Row) -> Sets:
        """What a row got right; empty where that is not known, or is not what the row is about."""
        key = "+".join(record.id for record in row.records)
        if key not in self._sets:
            self._sets[key] = self._read(row)
        return self._sets[key]

    def _read(self, row: Row) -> Sets:
        if self.source is None or row.records[0].primary != "top1":
            return {}
        found: Sets = {}
        for split, ids in _by_split(row).items():
            records = [self.records[name] for name in ids if name in self.records]
            tables = [self.source(record) for record in records if record.predictions.path]
            if len(tables) < len(ids) or any(table.clips != tables[0].clips for table in tables):
                return {}
            found[split] = (tables[0].clips, np.stack([table.correct for table in tables]).mean(axis=0))
        return found


def _by_split(row: Row) -> dict[str, list[str]]:
    """Split -> ids of a row's records on it, one a seed."""
    found: dict[str, list[str]] = {}
    for record in row.records:
        for split, name in (members(record) or {record.cell.split: record.id}).items():
            found.setdefault(split, []).append(name)
    return found


def corrected(deltas: Sequence[Delta | None]) -> list[Delta | None]:
    """Correct the p-values of the comparisons of one track for their number (Holm)."""
    known = [delta for delta in deltas if delta is not None and delta.p is not None]
    adjusted = iter(holm([delta.p for delta in known if delta.p is not None]).tolist() if known else [])
    return [dataclasses.replace(delta, p_holm=next(adjusted)) if delta is not None and delta.p is not None else delta
            for delta in deltas]
