"""Series of numbers as line charts: training curves, accuracy under corruption, accuracy of clips seen in part."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_skel import fsio
from ssl_skel.bench.board.charts import Tick, nice
from ssl_skel.bench.board.model import Row

WIDTH, HEIGHT = 360.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 12.0, 34.0
POINTS = 60
"""Points of a drawn training curve; each is the mean of a stretch of steps."""

READ = 3000
"""Lines of a curves file that are looked at, evenly spread."""

MAX_CURVES_BYTES = 200_000_000
NO_CURVE = ("step", "epoch", "lr", "time", "seconds")
PLACES = re.compile(r"([a-z][a-z-]*)/(\d+)/top1\Z")


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a name and its points."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn series; `style` says which dash, colour and marker."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]
    style: int
    text: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """Several series in one plane."""

    title: str
    summary: str
    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    markers: bool


def draw(title: str, x_name: str, y_name: str, series: Sequence[Series], markers: bool = True) -> LineChart | None:
    """Lay series out in one plane; None where there is no point.

    Args:
        title: Of the chart.
        x_name: Of the axis.
        y_name: Of the axis.
        series: Their order chooses the styles.
        markers: Whether points are marked.
    """
    xs = [x for one in series for x in one.xs]
    ys = [y for one in series for y in one.ys]
    if not xs:
        return None
    x_low, x_high = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    span = max(ys) - min(ys)
    y_low, y_high, step = nice(min(ys), max(ys) if span > 1e-9 * abs(max(ys)) else min(ys) + (abs(min(ys)) or 1.0), 4)

    def to_x(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def to_y(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for style, one in enumerate(series):
        points = tuple((to_x(x), to_y(y)) for x, y in zip(one.xs, one.ys))
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""
        lines.append(Line(one.name, path, points, style % 6, f"{one.name}: {_ends(one)}"))
    count = round((y_high - y_low) / step)
    x_ticks = _ticks(x_low, x_high, sorted(set(xs)))
    return LineChart(title, "; ".join(line.text for line in lines), x_name, y_name,
                     tuple(Tick(to_x(x), _short(x)) for x in x_ticks),
                     tuple(Tick(to_y(y_low + i * step), _short(y_low + i * step)) for i in range(count + 1)),
                     tuple(lines), markers)


def _ends(series: Series) -> str:
    return f"from {series.ys[0]:.3g} to {series.ys[-1]:.3g}" if series.ys else "no value"


def _ticks(low: float, high: float, xs: Sequence[float]) -> list[float]:
    if len(xs) <= 7:
        return list(xs)
    start, end, step = nice(low, high, 4)
    ticks = [start + i * step for i in range(round((end - start) / step) + 1)]
    return [tick for tick in ticks if low <= tick <= high]


def _short(value: float) -> str:
    value = round(value, 9) + 0.0
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def read_series(path: Path) -> dict[str, Series]:
    """Read a training's curves, each thinned to `POINTS` means.

    Args:
        path: A ``curves.jsonl``; a missing or unreadable one has no curves.

    Returns:
        Name -> series over steps, ``loss`` first.
    """
    try:
        lines = fsio.read_bounded(path, MAX_CURVES_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    rows = [_line(text) for text in lines[::math.ceil(len(lines) / READ) or 1]]
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            if name not in NO_CURVE and _is_number(value) and _is_number(row.get("step")):
                values[name].append((float(row["step"]), float(value)))
    return {name: _thin(name, values[name]) for name in sorted(values, key=lambda name: (name != "loss", name))}


def _line(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _thin(name: str, points: Sequence[tuple[float, float]]) -> Series:
    width = math.ceil(len(points) / POINTS)
    blocks = [points[start:start + width] for start in range(0, len(points), width)]
    means = [tuple(math.fsum(point[axis] for point in block) / len(block) for axis in (0, 1)) for block in blocks]
    return Series(name, tuple(x for x, _ in means), tuple(y for _, y in means))


def curve_groups(metrics: Mapping[str, float]) -> dict[str, dict[int, float]]:
    """Metrics that form curves, as ``noise/3/top1``: name -> place -> value."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for key, value in metrics.items():
        if match := PLACES.match(key):
            found[match[1]][int(match[2])] = value
    return {name: curve for name, curve in sorted(found.items()) if len(curve) > 1}


def protocol_charts(rows: Sequence[tuple[str, Row]]) -> list[LineChart]:
    """Charts of a protocol that measures curves: accuracy by severity of each corruption, or by observed percent.

    Args:
        rows: Name for people, and row; their order chooses the styles.
    """
    names = sorted({name for _, row in rows for name in curve_groups(row.metrics)})
    charts = [_protocol_chart(name, rows) for name in names]
    return [chart for chart in charts if chart is not None]


def _protocol_chart(name: str, rows: Sequence[tuple[str, Row]]) -> LineChart | None:
    early = name == "observed"
    series = []
    for title, row in rows:
        curve = dict(curve_groups(row.metrics).get(name, {}))
        if curve and "top1" in row.metrics:
            curve[100 if early else 0] = row.metrics["top1"]
        places = sorted(curve)
        if places:
            series.append(Series(title, tuple(map(float, places)), tuple(100 * curve[place] for place in places)))
    title = "seen part of the clip" if early else name
    return draw(title, "% of the clip seen" if early else "severity, 0 is clean", "top-1, %", series)
