"""Ranks of methods over test sets, with the critical difference of Nemenyi's test.

J. Demsar: Statistical Comparisons of Classifiers over Multiple Data Sets. JMLR 7 (2006).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.board import words
from ssl_skel.bench.board.means import MEMBERS
from ssl_skel.bench.board.model import Board, Row, RowKey, Table
from ssl_skel.bench.board.pages.classes import protocol_order
from ssl_skel.bench.stats import mean_ranks, ranks

MIN_METHODS, MIN_SETS = 3, 2
MIN_SETS_TEST = 5
"""Test sets from which a critical difference is given; with fewer it is wider than the scale."""

ALPHA = 0.05
LETTERS = 38
"""Letters that fit into a line of a label."""

Rows = dict[tuple[RowKey, str], Row]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One method over all test sets; rank 1 is the best, equal values share the mean of their places."""

    row: Row
    mean: float
    each: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RankPlot:
    """Ranks of the methods that were run on every test set under a protocol.

    Attributes:
        evaluator: The protocol.
        sets: Names of the test sets, in the order of `Ranked.each`.
        methods: Best mean rank first.
        left_out: Methods that lack a test set, or are not comparable there.
        critical: Difference of mean ranks from which two methods differ at 5 %; None with few test sets.
    """

    evaluator: str
    sets: tuple[str, ...]
    methods: tuple[Ranked, ...]
    left_out: int
    critical: float | None

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Two lines a method: its name, and its backbone and streams; no two methods have the same two lines."""
        rows = [one.row for one in self.methods]
        names = words.distinct([words.method(row) for row in rows], LETTERS)
        settings = [f"{row.key.backbone} · {words.streams(row)}" for row in rows]
        return list(zip(names, words.distinct(settings, LETTERS), strict=True))


def critical_difference(methods: int, sets: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of mean ranks.

    Args:
        methods: How many are compared, k.
        sets: Over how many test sets, N.
        alpha: Family-wise level.

    Returns:
        q sqrt(k (k + 1) / (6 N)), q from the studentized range over sqrt(2) (Demsar 2006, section 3.2.2).
    """
    return studentized_range(methods, alpha) / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * sets))


def studentized_range(groups: int, alpha: float) -> float:
    """Upper quantile of the range of k standard normal variables, by bisection of its distribution.

    P(range <= q) is k times the integral of phi(z) (Phi(z) - Phi(z - q))^(k - 1) over z.

    Args:
        groups: How many variables, k.
        alpha: Probability of a larger range.
    """
    z = np.linspace(-9.0, 9.0, 3601)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    def below(q: float) -> float:
        return float(groups * (density * (_normal(z) - _normal(z - q)) ** (groups - 1)).sum() * (z[1] - z[0]))

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 1 - alpha else (low, middle)
    return (low + high) / 2


def _normal(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal distribution function."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), dtype=np.float64)


def rank_plots(board: Board) -> list[RankPlot]:
    """Rank plots of all protocols that have enough methods and test sets."""
    plots = [_plot(name, [table for table in board.tables if table.evaluator == name])
             for name in sorted({table.evaluator for table in board.tables}, key=protocol_order)]
    return [plot for plot in plots if plot is not None]


def _plot(evaluator: str, tables: Sequence[Table]) -> RankPlot | None:
    columns = _common([(table, rows) for table, rows in ((table, _comparable(table)) for table in tables) if rows])
    names = {key: row for _, rows in columns for key, row in rows.items()}
    whole = sorted(key for key in names if all(key in rows for _, rows in columns))
    if len(whole) < MIN_METHODS or len(columns) < MIN_SETS:
        return None
    values = {str(place): [rows[key].mean or 0.0 for _, rows in columns] for place, key in enumerate(whole)}
    means = mean_ranks(values)
    each = list(zip(*(ranks([values[name][column] for name in values]).tolist() for column in range(len(columns)))))
    methods = [Ranked(names[key], means[str(place)], tuple(each[place])) for place, key in enumerate(whole)]
    critical = critical_difference(len(whole), len(columns)) if len(columns) >= MIN_SETS_TEST else None
    return RankPlot(evaluator, tuple(f"{table.dataset} {table.split}" for table, _ in columns),
                    tuple(sorted(methods, key=lambda one: (one.mean, one.row.key))), len(names) - len(whole), critical)


def _common(columns: Sequence[tuple[Table, Rows]]) -> list[tuple[Table, Rows]]:
    """Leave out test sets that lack most of the methods that stand on several: there, something else was compared."""
    counts = Counter(key for _, rows in columns for key in rows)
    usual = {key for key, count in counts.items() if count > 1}
    return [(table, rows) for table, rows in columns if 2 * len(usual & set(rows)) > len(usual)]


def _comparable(table: Table) -> Rows:
    """Ranked rows and floors of the main track; none where the table is a mean of others."""
    rows = list(table.tracks[0].rows) if table.tracks else []
    if any(MEMBERS in record.config for row in rows for record in row.records):
        return {}
    return {(row.key, row.variant): row for row in rows
            if row.mean is not None and (row.rank is not None or row.role == "floor") and not row.evaluator}


def summary(plot: RankPlot) -> str:
    """The plot in words."""
    listed = "; ".join(f"{words.method(one.row)}, {one.row.key.backbone}, {words.streams(one.row)}: {one.mean:.1f}"
                       for one in plot.methods)
    return f"Mean rank over {', '.join(plot.sets)}. {listed}."
