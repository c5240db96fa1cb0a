"""Differences between rows, paired over the test clips that both were asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.board.model import Delta, Row
from ssl_skel.bench.record import Record
from ssl_skel.bench.stats import paired_bootstrap
from ssl_skel.seed import derive

if TYPE_CHECKING:
    from ssl_skel.bench.predictions import PredictionTable

DRAWS = 2000

PredictionSource = Callable[[Record], "PredictionTable"]


class Deltas:
    """Compares rows; reads each record's predictions once.

    Args:
        source: Reads predictions; None gives differences of means without an interval.
    """

    def __init__(self, source: PredictionSource | None) -> None:
        self.source = source
        self._correct: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}

    def between(self, row: Row, other: Row) -> Delta:
        """Difference `row` - `other` of the primary metric, with a paired bootstrap interval over clips.

        Each clip's correctness is first averaged over the seeds of its row. There is an interval only for top-1
        on the same clips in the same order, and none for a mean over splits.
        """
        value = (row.mean or 0.0) - (other.mean or 0.0)
        against = " ".join(text for text in (other.key.method, other.key.backbone, other.variant) if text)
        paired = self.source is not None and row.records[0].primary == other.records[0].primary == "top1"
        paired = paired and all(record.predictions.path for record in (*row.records, *other.records))
        if not paired:
            return Delta(value, against)
        clips, mine = self._of(row)
        other_clips, theirs = self._of(other)
        if not clips or clips != other_clips:
            return Delta(value, against)
        seed = derive(0, "board", row.records[0].id, other.records[0].id)
        found = paired_bootstrap(mine, theirs, seed, DRAWS)
        return Delta(value, against, found.low, found.high)

    def _of(self, row: Row) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Clip names, and the share of seeds that were right on each."""
        key = "+".join(record.id for record in row.records)
        if key not in self._correct:
            assert self.source is not None
            tables = [self.source(record) for record in row.records]
            clips = tables[0].clips if all(table.clips == tables[0].clips for table in tables) else ()
            right = np.stack([table.correct for table in tables]) if clips else np.empty((1, 0))
            self._correct[key] = (clips, right.mean(axis=0))
        return self._correct[key]
