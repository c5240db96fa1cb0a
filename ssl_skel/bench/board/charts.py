"""Geometry of a board's pictures, in SVG user units; the templates draw it, and escape every text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ssl_skel.bench.board import words
from ssl_skel.bench.board.model import Cost, Row, Table
from ssl_skel.bench.published import PublishedRow

STRIP_W, STRIP_H, STRIP_PAD = 160.0, 26.0, 8.0
PLOT_W, PLOT_H = 560.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 18.0, 16.0, 44.0
CHAR = 7.4
"""Width of a letter of a label, for placing it."""

LABEL = 30
"""Letters of a label."""

LINE = 14.0
"""Height of a line of text."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps percent to the width of a strip."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, percent: float) -> float:
        """Position on a strip."""
        share = (min(max(percent, self.low), self.high) - self.low) / (self.high - self.low)
        return round(STRIP_PAD + share * (STRIP_W - 2 * STRIP_PAD), 1)

    def marks(self) -> list[Tick]:
        """Ticks of a strip."""
        return [Tick(self.x(tick), f"{tick:g}") for tick in self.ticks]


@dataclass(frozen=True, slots=True)
class Strip:
    """The interval of one row: a whisker and a point."""

    low: float
    mid: float
    high: float
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the plane of accuracy and cost; the label has its own place."""

    x: float
    y: float
    low: float
    high: float
    role: str
    text: str
    label: str
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line: the floor or the ceiling."""

    y: float
    text: str
    role: str
    text_y: float


@dataclass(frozen=True, slots=True)
class Scatter:
    """Accuracy against one cost, on a logarithmic axis."""

    title: str
    summary: str
    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    levels: tuple[Level, ...]
    frontier: str


def make_scale(table: Table, published: bool = True) -> Scale:
    """Choose a range that holds all our means and intervals, and the published numbers above our lowest."""
    values = [100 * value for row in table.rows() for value in _extent(row)]
    if not values:
        return Scale(0.0, 100.0, (0.0, 50.0, 100.0))
    if published:
        values += [row.value for row in table.published if row.value >= min(values)]
    # At least one point wide, also where every number is 100 %.
    low, high, step = nice(min(*values, 99.0), max(*values, min(values) + 1.0), 4)
    low, high = max(0.0, low), min(100.0, high)
    count = round((high - low) / step)
    return Scale(low, high, tuple(round(low + i * step, 6) for i in range(count + 1)))


def _extent(row: Row) -> list[float]:
    if row.mean is None:
        return []
    return [row.mean, *((row.interval.low, row.interval.high) if row.interval else ())]


def nice(low: float, high: float, parts: int) -> tuple[float, float, float]:
    """Widen a range to round numbers; the step is 1, 2, 2.5 or 5 times a power of ten."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / parts))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= parts)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step


def make_strip(row: Row, scale: Scale) -> Strip | None:
    """Draw one row's interval; None where there is no number."""
    if row.mean is None:
        return None
    mid = 100 * row.mean
    low, high = (100 * row.interval.low, 100 * row.interval.high) if row.interval else (mid, mid)
    text = f"{words.percent(row.mean)} %" + (f", interval {words.interval(row)}" if row.interval else "")
    return Strip(scale.x(low), scale.x(mid), scale.x(high), row.role, text)


def published_marks(rows: Sequence[PublishedRow], scale: Scale) -> list[float]:
    """Where published numbers lie on a strip, without those outside its range."""
    return sorted({scale.x(row.value) for row in rows if scale.low <= row.value <= scale.high})


def floor_mark(table: Table, scale: Scale) -> float | None:
    """Where the best floor row lies on a strip."""
    floors = [row.mean for row in table.rows() if row.role == "floor" and row.mean is not None]
    return scale.x(100 * max(floors)) if floors else None


def make_scatters(table: Table) -> list[Scatter]:
    """Accuracy against pretraining time, parameters, arithmetic and energy, each where rows differ in it."""
    metric = words.metric_name(table.metric)
    made = [_scatter(table, f"{metric} against {name}", axis, value, text) for name, axis, value, text in (
        ("pretraining time", "pretraining of one seed, minutes", lambda c: c.hours and c.hours * 60,
         words.duration),
        ("parameters", "parameters of the encoders, millions", lambda c: c.params and c.params / 1e6,
         words.params),
        ("arithmetic", "operations for encoding a clip, 10⁹", lambda c: c.flops and c.flops / 1e9, words.flops),
        ("energy", "energy of one pretraining, kJ", lambda c: c.energy_kj, words.energy),
    )]
    return [scatter for scatter in made if scatter is not None]


def _scatter(table: Table, title: str, x_name: str, value: Callable[[Cost], float | None],
             text: Callable[[Cost], str]) -> Scatter | None:
    rows = [row for row in table.rows() if row.mean is not None and row.role == "ranked" and value(row.cost)]
    costs = [value(row.cost) or 0.0 for row in rows]
    if len({f"{cost:.2g}" for cost in costs}) < 2:
        return None
    low, high = math.log10(min(costs)), math.log10(max(costs))
    pad = max(0.12 * (high - low), 0.08)
    left, right = low - pad, high + pad
    scale = make_scale(table, published=False)

    def to_x(cost: float) -> float:
        return round(LEFT + (math.log10(cost) - left) / (right - left) * (PLOT_W - LEFT - RIGHT), 1)

    def to_y(percent: float) -> float:
        share = (min(max(percent, scale.low), scale.high) - scale.low) / (scale.high - scale.low)
        return round(PLOT_H - BOTTOM - share * (PLOT_H - TOP - BOTTOM), 1)

    names = [words.method(row) for row in rows]
    labels = [name if names.count(name) == 1 else f"{name} {words.streams(row)}" for name, row in zip(names, rows)]
    labels = words.distinct(labels, LABEL)
    levels = _level_lines(_levels(table), to_y)
    points = _place([_point(row, label, to_x(cost), to_y, text(row.cost))
                     for row, label, cost in zip(rows, labels, costs)], levels)
    best = max(rows, key=lambda row: row.mean or 0)
    summary = (f"{len(rows)} rows; the best, {words.method(best)}, has {words.percent(best.mean)} % at "
               f"{text(best.cost)}. The same numbers stand in the table.")
    return Scatter(title, summary, x_name, f"{words.metric_name(table.metric)}, %",
                   tuple(Tick(to_x(tick), f"{tick:g}") for tick in _log_ticks(left, right)),
                   tuple(Tick(to_y(tick), f"{tick:g}") for tick in scale.ticks), tuple(points), levels,
                   _frontier(points))


def _levels(table: Table) -> list[Row]:
    found = []
    for role in ("floor", "ceiling"):
        rows = [row for row in table.rows() if row.role == role and row.mean is not None]
        found += [max(rows, key=lambda row: row.mean or 0)] if rows else []
    return found


def _level_lines(rows: Sequence[Row], to_y: Callable[[float], float]) -> tuple[Level, ...]:
    """Lines with their labels above them; of two that are near, the lower one's stands below it if it fits there."""
    found = [Level(y, f"{row.role} {words.percent(row.mean)}", row.role, y - 5)
             for row in rows for y in (to_y(100 * (row.mean or 0)),)]
    found.sort(key=lambda level: level.y)
    if len(found) == 2 and found[1].text_y - found[0].text_y < LINE:
        upper, lower = found
        if lower.y + LINE <= PLOT_H - BOTTOM - 3:
            found[1] = dataclasses.replace(lower, text_y=round(lower.y + LINE, 1))
        else:
            found[0] = dataclasses.replace(upper, text_y=round(lower.text_y - LINE, 1))
    return tuple(found)


def _log_ticks(left: float, right: float) -> list[float]:
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [factor * 10.0**power for power in range(math.floor(left), math.ceil(right) + 1)
                 for factor in factors if left <= math.log10(factor * 10.0**power) <= right]
        if len(ticks) >= 3:
            return ticks[:: math.ceil(len(ticks) / 6)]
    return [float(f"{10**left * 1.02:.2g}"), float(f"{10**right * 0.98:.2g}")]


def _point(row: Row, label: str, x: float, to_y: Callable[[float], float], cost: str) -> Point:
    mid = 100 * (row.mean or 0)
    low, high = (100 * row.interval.low, 100 * row.interval.high) if row.interval else (mid, mid)
    text = f"{words.method(row)}, {row.key.backbone}, {words.streams(row)}: {words.score(row)} % at {cost}"
    return Point(x, to_y(mid), to_y(low), to_y(high), row.role, text, label, x, to_y(mid), "start")


def _place(points: Sequence[Point], levels: Sequence[Level]) -> list[Point]:
    """Put each label to the right, left, above or below its point, where nothing lies yet; else leave it out."""
    taken = [(p.x - 6, p.y - 6, p.x + 6, p.y + 6) for p in points]
    taken += [(PLOT_W - RIGHT - CHAR * len(level.text), level.text_y - 11, PLOT_W - RIGHT, level.text_y + 3)
              for level in levels]
    whiskers = [(p.x - 2, min(p.low, p.high), p.x + 2, max(p.low, p.high)) for p in points]
    placed = []
    for point in sorted(points, key=lambda p: (p.y, p.x, p.text)):
        width = CHAR * len(point.label)
        spots = ((point.x + 9, point.y + 4, "start", point.x + 9),
                 (point.x - 9, point.y + 4, "end", point.x - 9 - width),
                 (point.x, point.y - 10, "middle", point.x - width / 2),
                 (point.x, point.y + 19, "middle", point.x - width / 2))
        label, where = "", spots[0]
        # A place that no whisker crosses if there is one; else the label is drawn over the whisker.
        for others, spot in ((others, spot) for others in (whiskers, []) for spot in spots):
            box = (spot[3], spot[1] - 10, spot[3] + width, spot[1] + 3)
            inside = box[0] >= LEFT and box[2] <= PLOT_W - 2 and box[1] >= 2 and box[3] <= PLOT_H - BOTTOM
            if inside and not any(_overlap(box, other) for other in (*taken, *others)):
                taken.append(box)
                label, where = point.label, spot
                break
        placed.append(Point(point.x, point.y, point.low, point.high, point.role, point.text, label,
                            round(where[0], 1), round(where[1], 1), where[2]))
    return placed


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _frontier(points: Sequence[Point]) -> str:
    """Steps along the points that no cheaper point beats."""
    best, path = math.inf, ""
    for point in sorted(points, key=lambda p: (p.x, p.y)):
        if point.y < best:
            path += f"M{point.x} {point.y}" if not path else f"H{point.x}V{point.y}"
            best = point.y
    return path
