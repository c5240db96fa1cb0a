"""Means over a group of splits: what papers report of the folds of a cross-validation.

A mean stands in a table of its own, under the group's name, as a record that was never run: its metrics are the
unweighted means of the members' and it has no predictions, so it has no interval over clips.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ssl_skel import ids
from ssl_skel.bench.record import Counts, Predictions, Record

Groups = Mapping[str, Mapping[str, Sequence[str]]]
"""Dataset -> group -> its splits."""

MEMBERS = "mean_of"
"""Key of a mean's configuration: split -> id of the record that went in."""


def mean_records(records: Iterable[Record], groups: Groups) -> list[Record]:
    """Make one record for each row and seed that has a record in every split of a group.

    Args:
        records: Any order.
        groups: Of the datasets.
    """
    ordered = sorted(records, key=lambda record: record.id)
    found = []
    for dataset, of_dataset in sorted(groups.items()):
        for group, splits in sorted(of_dataset.items()):
            rows: dict[str, dict[str, Record]] = defaultdict(dict)
            for record in ordered:
                if record.cell.dataset == dataset and record.cell.split in splits:
                    rows[_row(record)][record.cell.split] = record
            found += [_mean(group, [members[split] for split in splits])
                      for _, members in sorted(rows.items()) if len(members) == len(splits)]
    return found


def members(record: Record) -> Mapping[str, str]:
    """Split -> id of the record that went into a mean; empty for a record that was run."""
    found = record.config.get(MEMBERS)
    return found if isinstance(found, Mapping) else {}


def sources(record: Record) -> list[str]:
    """Ids of the records that a number comes from: the record's own, or those of a mean's members."""
    return list(members(record).values()) or [record.id]


def _row(record: Record) -> str:
    """What the records of a mean have in common: all but the split."""
    digests = record.digests.model_dump(include={"plugin", "core", "dataset", "config"})
    return ids.digest([record.cell.model_dump(exclude={"split"}), digests, record.primary])


def _mean(group: str, members: Sequence[Record]) -> Record:
    first = members[0]
    names = set.intersection(*(set(member.metrics) for member in members))
    sizes = [member.n for member in members]
    return first.model_copy(update={
        "id": ids.short_id([group, [member.id for member in members]]),
        "cell": first.cell.model_copy(update={"split": group}),
        "digests": first.digests.model_copy(update={
            "split": ids.digest([member.digests.split for member in members])}),
        "config": {**first.config, MEMBERS: {member.cell.split: member.id for member in members}},
        "metrics": {name: _average([member.metrics[name] for member in members]) for name in sorted(names)},
        "ci95": {}, "chosen": {}, "predictions": Predictions(path="", sha256=""),
        "n": Counts(train=max(n.train for n in sizes), val=max(n.val for n in sizes), test=sum(n.test for n in sizes)),
        "time_s": _averages([member.time_s for member in members]),
        "cost": _averages([member.cost for member in members]),
        "started": min(member.started for member in members), "finished": max(member.finished for member in members),
        "seal": ""})


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _averages(tables: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Means of the entries that every table has."""
    found = {}
    for name in tables[0]:
        values = [value for table in tables if (value := table.get(name)) is not None]
        if len(values) == len(tables):
            found[name] = _average(values)
    return found
