"""Ablations: records whose configurations differ in two keys, as a grid and a heat map."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ssl_skel.bench.board.comparable import differing_keys, flat
from ssl_skel.bench.record import Record
from ssl_skel.bench.stats import spread
from ssl_skel.errors import UsageMistake
from ssl_skel.ids import canonical


@dataclass(frozen=True, slots=True)
class GridCell:
    """Mean and spread of the primary metric over seeds, fractions; `count` records."""

    mean: float
    sd: float | None
    count: int


@dataclass(frozen=True, slots=True)
class AblationGrid:
    """An ablation over two keys.

    Attributes:
        title: What is held fixed.
        row_key: Dotted key of the configuration.
        col_key: Dotted key of the configuration.
        rows: Values of `row_key` as text, in order.
        cols: Values of `col_key` as text, in order.
        cells: (row text, column text) -> cell; absent where no record is.
        metric: The primary one.
        kind: What it is called.
    """

    title: str
    row_key: str
    col_key: str
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    cells: dict[tuple[str, str], GridCell]
    metric: str
    kind: str = "Ablation"

    def range(self) -> tuple[float, float]:
        """Smallest and largest mean."""
        means = [cell.mean for cell in self.cells.values()]
        return min(means), max(means)


def ablation_grid(records: Sequence[Record], row_key: str, col_key: str, title: str = "") -> AblationGrid:
    """Arrange records by two keys of their configuration.

    Args:
        records: Of one table; records of one cell of the grid may differ in the seed only.
        row_key: Dotted key, e.g. ``task.mask.strategy``.
        col_key: Dotted key, e.g. ``task.mask.ratio``.
        title: What is held fixed.

    Raises:
        UsageMistake: If a key is in no record, or one cell would mix different settings.
    """
    values: dict[tuple[str, str], list[Record]] = defaultdict(list)
    order: dict[str, dict[str, Any]] = {row_key: {}, col_key: {}}
    for record in records:
        config = flat(record.config)
        for key in (row_key, col_key):
            if key not in config:
                raise UsageMistake(f"record {record.id} has no key {key!r} in its configuration")
            order[key][_text(config[key])] = config[key]
        values[_text(config[row_key]), _text(config[col_key])].append(record)
    for (row, col), group in values.items():
        seeds = [record.cell.seed for record in group]
        if len(set(seeds)) != len(seeds):
            raise UsageMistake(f"{row_key}={row}, {col_key}={col} has several records of one seed",
                               "They differ in something else; fix it first.")
    cells = {place: grid_cell(group) for place, group in values.items()}
    metric = records[0].primary if records else "top1"
    return AblationGrid(title, row_key, col_key, _ordered(order[row_key]), _ordered(order[col_key]), cells, metric)


def find_ablations(records: Sequence[Record]) -> list[AblationGrid]:
    """Find records, alike but for the seed, that two keys of their configuration set out as a grid.

    Where more than two keys differ, a grid is shown for every pair of keys that has, at equal values of the others,
    more cells than a row and a column of it; a key that follows from one of the two, as the number of parts from the
    strategy that masks them, may differ along.
    """
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        cell = record.cell
        groups[cell.dataset, cell.split, cell.evaluator, cell.plugin, cell.backbone, cell.streams,
               cell.fusion, cell.pretrained_on].append(record)
    return [grid for names, group in sorted(groups.items()) for grid in _grids_of(names, group)]


def _grids_of(names: tuple[str, ...], group: Sequence[Record]) -> list[AblationGrid]:
    dataset, split, evaluator, plugin, backbone, streams, fusion, before = names
    fused = "" if fusion == "single" else f", {fusion}"
    origin = f", pretrained on {before}" if before else ""
    title = f"{plugin} ({backbone}), {streams}{fused}{origin}, on {dataset} {split}, {evaluator}"
    keys = sorted(differing_keys(record.config for record in group), key=lambda key: (_numeric(group, key), key))
    if len(keys) == 2:
        grid = _try_grid(group, keys[0], keys[1], title)
        return [grid] if grid else []
    configs = [{key: _text(config.get(key)) for key in keys} for config in (flat(record.config) for record in group)]
    found = []
    for first, second in combinations(keys, 2):
        fixed = [key for key in keys if key not in (first, second)
                 and not _follows(configs, key, first) and not _follows(configs, key, second)]
        alike: dict[tuple[str, ...], list[Record]] = defaultdict(list)
        for record, config in zip(group, configs, strict=True):
            alike[tuple(config[key] for key in fixed)].append(record)
        for values, members in sorted(alike.items()):
            held = "".join(f", {key.rpartition('.')[2]} {value}" for key, value in zip(fixed, values, strict=True))
            grid = _try_grid(members, first, second, title + held)
            if grid and len(grid.cells) >= len(grid.rows) + len(grid.cols):
                found.append(grid)
    return found


def _try_grid(group: Sequence[Record], row_key: str, col_key: str, title: str) -> AblationGrid | None:
    try:
        grid = ablation_grid(group, row_key, col_key, title)
    except UsageMistake:
        return None
    return grid if len(grid.rows) > 1 and len(grid.cols) > 1 else None


def _follows(configs: Sequence[dict[str, str]], key: str, other: str) -> bool:
    """Whether the value of `other` tells that of `key`."""
    return len({(config[other], config[key]) for config in configs}) == len({config[other] for config in configs})


def _numeric(records: Sequence[Record], key: str) -> bool:
    """Numbers run along the columns, names along the rows."""
    return all(isinstance(flat(record.config).get(key), int | float) for record in records)


def grid_cell(group: Sequence[Record]) -> GridCell:
    """Summarise the records of one place, which differ in the seed only."""
    values = [record.metrics[record.primary] for record in group]
    over = spread(values)
    return GridCell(over.mean, over.sd if over.n > 1 else None, over.n)


def _ordered(values: dict[str, Any]) -> tuple[str, ...]:
    def order(text: str) -> tuple[bool, float, str]:
        value = values[text]
        number = isinstance(value, int | float)
        return (not number, float(value) if number else 0.0, text)

    return tuple(sorted(values, key=order))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str | int | float) for item in value):
        return "+".join(_text(item) for item in value) or "none"
    return canonical(value)
