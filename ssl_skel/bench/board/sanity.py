"""The label-shuffled probe: where it does better than chance, something is wrong with the whole column."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_skel.bench.board.deltas import PredictionSource
from ssl_skel.bench.board.model import Sanity
from ssl_skel.bench.record import Record
from ssl_skel.bench.stats import holm, knows_names
from ssl_skel.seed import derive

SHUFFLED = "shuffled"
"""The evaluator that trains on shuffled labels."""

ALPHA = 0.01
"""Of the family of all probes of a column."""


def check_sanity(records: Sequence[Record], source: PredictionSource | None) -> Sanity | None:
    """Test whether probes that were trained on shuffled labels know the classes.

    Args:
        records: Of the evaluator `SHUFFLED`, on the splits of one column.
        source: Reads their predictions.

    Returns:
        What was found; None where there is no such probe, or no prediction can be read.
    """
    if not records or source is None:
        return None
    ordered = sorted(records, key=lambda record: record.id)
    found = []
    for record in ordered:
        table = source(record)
        seed = derive(0, "sanity", record.id)
        found.append(knows_names(table.labels, table.top[:, 0], record.num_classes, seed))
    accuracies = [record.metrics["top1"] for record in ordered]
    p = float(holm(found).min())
    return Sanity(sum(accuracies) / len(accuracies), max(accuracies), 1 / ordered[0].num_classes, len(ordered), p,
                  p < ALPHA)
