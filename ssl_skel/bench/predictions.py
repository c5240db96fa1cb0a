"""Per-clip predictions as CSV: what every number of a record can be computed from again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_skel.bench.record import Record
from ssl_skel.errors import BadRecord

MAX_TOP = 5
MAX_DIGITS = 20
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """What an evaluation predicted.

    Attributes:
        clips: n clip names, in the order of the test part.
        labels: (n,) int64 true classes.
        top: (n, K) int64 classes by falling score, 1 <= K <= 5.
    """

    clips: tuple[str, ...]
    labels: NDArray[np.int64]
    top: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) bool: whether the first class is the label."""
        return np.asarray(self.top[:, 0] == self.labels)


def write_predictions(clips: Sequence[str], labels: ArrayLike, top: ArrayLike) -> bytes:
    """Write predictions as CSV; equal predictions give equal bytes.

    Args:
        clips: n different clip names.
        labels: (n,) integers; a torch tensor on the CPU will do.
        top: (n, K) integers, K <= 5, classes by falling score.

    Returns:
        UTF-8 text: a header ``clip,label,top1..topK``, then one line a clip.

    Raises:
        BadRecord: If lengths disagree or a clip stands twice.
    """
    wanted, ranked = np.asarray(labels), np.asarray(top)
    _check_shape(clips, wanted, ranked, "predictions")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_header(ranked.shape[1]))
    for clip, label, row in zip(clips, wanted.tolist(), ranked.tolist()):
        writer.writerow([clip, label, *row])
    return out.getvalue().encode("utf-8")


def read_predictions(data: bytes, origin: str) -> PredictionTable:
    """Read predictions back.

    Args:
        data: From `write_predictions`.
        origin: Names the file in errors.

    Raises:
        BadRecord: If it is torn or says something else than class numbers.
    """
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
        width = len(rows[0]) - 2 if rows else 0
        if not 1 <= width <= MAX_TOP or rows[0] != _header(width):
            raise ValueError("the header is not clip,label,top1..topK")
        if not data.endswith(b"\n") or any(len(row) != width + 2 for row in rows):
            raise ValueError("a line is cut short")
        if any(len(text) > MAX_DIGITS for row in rows[1:] for text in row[1:]):
            raise ValueError("a class number has too many digits")  # numpy gives every text the room of the longest
        clips = tuple(row[0] for row in rows[1:])
        numbers = np.array([row[1:] for row in rows[1:]], dtype=str).reshape(-1, width + 1).astype(np.int64)
    except (UnicodeDecodeError, csv.Error, ValueError, OverflowError) as error:
        raise BadRecord(f"{origin} is torn or no table of predictions: {error}") from None
    table = PredictionTable(clips, numbers[:, 0], numbers[:, 1:])
    _check_shape(table.clips, table.labels, table.top, origin)
    return table


def rescore(record: Record, table: PredictionTable) -> dict[str, float]:
    """Compute top-1, top-5 and mean class accuracy again from predictions, as fractions.

    Top-5 is left out where it can't be wrong (five classes or fewer), as in the record.

    Args:
        record: For the number of classes.
        table: Its predictions.

    Raises:
        BadRecord: If a class number is out of range or nothing was predicted.
    """
    classes = record.num_classes
    if len(table) == 0:
        raise BadRecord(f"record {record.id} has no predictions")
    for values in (table.labels, table.top):
        if values.min() < 0 or values.max() >= classes:
            raise BadRecord(f"the predictions of record {record.id} name a class outside 0..{classes - 1}")
    hits = table.top == table.labels[:, None]
    metrics = {"top1": float(hits[:, 0].mean())}
    if classes > MAX_TOP:
        metrics["top5"] = float(hits.any(axis=1).mean())
    total = np.bincount(table.labels, minlength=classes)
    right = np.bincount(table.labels[hits[:, 0]], minlength=classes)
    metrics["mean_class"] = float((right[total > 0] / total[total > 0]).mean())
    return metrics


def check_scores(record: Record, table: PredictionTable) -> list[str]:
    """Compare a record's metrics with those that its predictions give.

    Args:
        record: What was recorded.
        table: Its predictions.

    Returns:
        Names of the metrics that were compared; others (retrieval, clustering) can't be had from predictions.

    Raises:
        BadRecord: If one differs by more than rounding.
    """
    again = rescore(record, table)
    compared = sorted(set(again) & set(record.metrics))
    for name in compared:
        if abs(again[name] - record.metrics[name]) > TOLERANCE:
            raise BadRecord(f"record {record.id} says {name} {record.metrics[name]:.6f}, "
                            f"its predictions give {again[name]:.6f}")
    return compared


def _header(width: int) -> list[str]:
    return ["clip", "label", *(f"top{rank}" for rank in range(1, width + 1))]


def _check_shape(clips: Sequence[str], labels: NDArray[Any], top: NDArray[Any], origin: str) -> None:
    n = len(clips)
    if labels.shape != (n,) or top.ndim != 2 or len(top) != n or not 1 <= top.shape[1] <= MAX_TOP:
        raise BadRecord(f"{origin}: {n} clips, labels {labels.shape}, top {top.shape} do not fit together")
    if len(set(clips)) != n:
        raise BadRecord(f"{origin}: a clip stands twice")
