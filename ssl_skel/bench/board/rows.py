"""One row over its seeds: mean, spread, interval, cost, staleness, and how it differs from its namesakes."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_skel.bench.board.comparable import differing_keys, flat
from ssl_skel.bench.board.means import sources
from ssl_skel.bench.board.model import Cost, Interval, Row, RowKey
from ssl_skel.bench.record import Record
from ssl_skel.bench.stats import Spread, spread


def make_row(key: RowKey, records: Sequence[Record], family: str, stale: Mapping[str, Sequence[str]]) -> Row:
    """Summarise the records of one row.

    Args:
        key: Of the row.
        records: At least one; they differ in the seed only.
        family: Of the plugin.
        stale: Record id -> parts that have changed since.
    """
    ordered = tuple(sorted(records, key=lambda record: (record.cell.seed, record.id)))
    primary = ordered[0].primary
    values = [record.metrics[primary] for record in ordered]
    over = spread(values)
    parts = {part for record in ordered for source in sources(record) for part in stale.get(source, ())}
    others = sorted({name for record in ordered for name in record.metrics} - {primary})
    return Row(key, family=family, records=ordered, mean=over.mean, sd=over.sd if over.n > 1 else None,
               interval=_interval(ordered, over),
               metrics={name: _mean([record.metrics.get(name) for record in ordered]) or 0.0 for name in others},
               cost=_cost(ordered), stale=tuple(sorted(parts)))


def _interval(records: Sequence[Record], over: Spread) -> Interval | None:
    if over.n > 1:
        return Interval(max(0.0, over.low), min(1.0, over.high), "seeds")
    found = records[0].ci95.get(records[0].primary)
    return Interval(found[0], found[1], "clips") if found else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(found) if found else None


def _cost(records: Sequence[Record]) -> Cost:
    def mean(name: str) -> float | None:
        return _mean([record.cost.get(name) for record in records])

    peaks = [max((record.cost.get(name) or 0.0 for name in ("pretrain_peak_mb", "eval_peak_mb", "peak_mb")),
                 default=0.0) for record in records]
    return Cost(mean("params"), mean("pretrain_hours"), mean("samples_per_s"), max(peaks) or None, mean("flops"),
                mean("pretrain_kj"))


def variants(rows: Sequence[Row]) -> list[Row]:
    """Tell rows of the same key apart by what differs: configuration keys, else code or data."""
    groups: dict[RowKey, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    named = []
    for group in groups.values():
        named += [group[0]] if len(group) == 1 else _name_variants(group)
    return named


def _name_variants(group: Sequence[Row]) -> list[Row]:
    configs = [row.records[0].config for row in group]
    keys = differing_keys(configs)
    digests = [row.records[0].digests.model_dump() for row in group]
    parts = [part for part in ("plugin", "core", "dataset", "split") if len({d[part] for d in digests}) > 1]
    named = []
    for row, config, digest in zip(group, configs, digests):
        values = flat(config)
        texts = [f"{key.removeprefix('task.')}={_plain(values.get(key))}" for key in keys]
        texts += [f"{part} {digest[part][:8]}" for part in parts]
        named.append(dataclasses.replace(row, variant=", ".join(texts)))
    return named


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(_plain(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)[:60]
