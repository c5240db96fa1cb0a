"""What predictions say class by class: how often each class is found, and what it is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.board.means import MEMBERS
from ssl_skel.bench.board.model import Row
from ssl_skel.bench.record import Record

if TYPE_CHECKING:
    from ssl_skel.bench.board.deltas import PredictionSource

LEVELS = 5
"""Shades of a confusion matrix."""

SHOWN_FROM = 0.01
"""Share of a class's clips from which a confusion is drawn."""

LISTED = 8
PREFERRED = ("linear", "linear-sgd", "finetune", "knn")
"""The usual protocols; of these, the first that there is has its predictions shown class by class."""


def protocol_order(evaluator: str) -> tuple[int, str]:
    """Put protocols in the order in which they are shown: the usual ones first."""
    return (PREFERRED.index(evaluator) if evaluator in PREFERRED else len(PREFERRED), evaluator)


@dataclass(frozen=True, slots=True)
class ClassTable:
    """A row's predictions by class, summed over its seeds.

    Attributes:
        names: Of the C classes.
        confusion: (C, C) int64; true class down, predicted class across.
        seeds: How many records went in.
    """

    names: tuple[str, ...]
    confusion: NDArray[np.int64]
    seeds: int

    @property
    def clips(self) -> list[int]:
        """Test clips of each class."""
        return [int(total) // self.seeds for total in self.confusion.sum(axis=1)]

    @property
    def recall(self) -> list[float | None]:
        """Share of each class's clips that were recognised; None where the test part has none."""
        totals = self.confusion.sum(axis=1)
        return [float(hit / total) if total else None for hit, total in zip(np.diag(self.confusion), totals)]

    def mistakes(self) -> list[tuple[str, str, float, int]]:
        """The most frequent confusions: true class, predicted class, share of the true one's clips, clips a seed."""
        shares = self._shares()
        np.fill_diagonal(shares, 0.0)
        order = np.argsort(-shares, axis=None, kind="stable")[:LISTED]
        places = [divmod(int(place), len(self.names)) for place in order]
        return [(self.names[true], self.names[taken], float(shares[true, taken]),
                 round(int(self.confusion[true, taken]) / self.seeds)) for true, taken in places if shares[true, taken]]

    def shades(self) -> list[str]:
        """One SVG path a shade, light to dark, of unit squares in the plane of (predicted, true)."""
        shares = self._shares()
        level = np.where(shares >= SHOWN_FROM, np.minimum((shares * LEVELS).astype(int), LEVELS - 1), -1)
        return ["".join(f"M{taken} {true}h1v1h-1z" for true, taken in zip(*np.nonzero(level == shade)))
                for shade in range(LEVELS)]

    def _shares(self) -> NDArray[np.float64]:
        totals = self.confusion.sum(axis=1, keepdims=True)
        return np.asarray(self.confusion / np.maximum(totals, 1), dtype=np.float64)


def has_predictions(row: Row) -> bool:
    """Whether there is something to count: a mean over splits has no predictions of its own."""
    return bool(row.records) and not any(MEMBERS in record.config for record in row.records)


def count_classes(records: Sequence[Record], source: PredictionSource, names: Sequence[str]) -> ClassTable:
    """Count the predictions of a row's records.

    Args:
        records: At least one, all of one test part.
        source: Reads predictions.
        names: Class names; numbers where these are not as many as the records have classes.

    Raises:
        BadRecord: If predictions are missing or changed.
    """
    classes = records[0].num_classes
    confusion = np.zeros((classes, classes), np.int64)
    for record in records:
        table = source(record)
        np.add.at(confusion, (table.labels, table.top[:, 0]), 1)
    known = tuple(names) if len(names) == classes else tuple(f"class {number}" for number in range(classes))
    return ClassTable(known, confusion, len(records))
