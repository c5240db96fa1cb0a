"""How sure a number is: intervals over seeds, clips and subjects, paired comparisons, ranks, corrections.

Plain numpy on stored predictions; each function is checked against scipy. Seeds go to a generator of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.errors import SkelError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Right = Bools | Floats
"""Whether each clip is right, or the share of seeds that have it right."""

CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean over runs.

    Attributes:
        mean: Of the values.
        sd: Sample standard deviation; NaN for one value.
        low: Lower bound of the t-interval of the mean; NaN for one value.
        high: Upper bound.
        n: Number of values.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A against B on the same clips.

    Attributes:
        difference: Accuracy of A minus that of B.
        low: Lower bound of its interval.
        high: Upper bound.
        p: Two-sided bootstrap p-value of no difference.
    """

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class SubjectDifference(Difference):
    """A difference whose units are whole subjects.

    Attributes:
        subjects: Their number, over all test sets.
    """

    subjects: int


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test on paired predictions.

    Attributes:
        only_a: Clips that only A has right.
        only_b: Clips that only B has right.
        p_exact: Two-sided exact binomial p-value.
        p_chi2: p-value of the chi-square with continuity correction (Edwards).
    """

    only_a: int
    only_b: int
    p_exact: float
    p_chi2: float


def spread(values: Sequence[float], alpha: float = 0.05) -> Spread:
    """Mean, standard deviation and t-interval over seeds.

    Args:
        values: One a seed.
        alpha: One minus the level.

    Raises:
        SkelError: If there is no value.
    """
    from scipy.special import stdtrit  # of scipy.stats.t, without its second of imports

    if not values:
        raise SkelError("no value to average")
    data = np.asarray(values, dtype=np.float64)
    n, mean = len(data), float(data.mean())
    if n == 1:
        return Spread(mean, math.nan, math.nan, math.nan, 1)
    sd = float(data.std(ddof=1))
    half = float(stdtrit(n - 1, 1 - alpha / 2)) * sd / math.sqrt(n)
    return Spread(mean, sd, mean - half, mean + half, n)


def bootstrap_clips(values: NDArray[np.generic], seed: int, draws: int = 2000,
                    alpha: float = 0.05) -> tuple[float, float]:
    """Percentile interval of a mean, resampling clips.

    Args:
        values: (n,) one a clip (right or wrong, or any figure).
        seed: Of the draws.
        draws: Number of resamples.
        alpha: One minus the level.
    """
    return _interval(_resampled_means(np.asarray(values, np.float64)[:, None], seed, draws)[:, 0], alpha)


def bootstrap_subjects(values: NDArray[np.generic], subjects: NDArray[np.integer], seed: int,
                       draws: int = 2000, alpha: float = 0.05) -> tuple[float, float]:
    """Percentile interval of a mean over clips, resampling whole subjects (a subject's clips are alike).

    Args:
        values: (n,) one a clip.
        subjects: (n,) performer ids.
        seed: Of the draws.
        draws: Number of resamples.
        alpha: One minus the level.

    Raises:
        SkelError: If there are fewer than two subjects.
    """
    totals = _resampled_means(np.stack(_per_subject(values, subjects), axis=1), seed, draws)
    return _interval(totals[:, 0] / totals[:, 1], alpha)


def paired_subjects(groups: Sequence[tuple[Right, Right, NDArray[np.integer]]],
                    alpha: float = 0.05) -> SubjectDifference:
    """Compare two predictions of the same clips with whole subjects as the units, since clips of a subject are alike.

    An interval over clips says how sure the difference is for these performers, this one how sure it is for others.
    Test sets have 2 to 10 performers, of which resampling draws too few different ones (with 4, it finds a difference
    where there is none in 16 of 100 trials), so the variance is the cluster-robust one (Liang and Zeger 1986) with its
    correction for few clusters, read on Student's t. The p-value is never below 2^(1 - G) for G subjects, the least
    that an exact test which flips the signs of whole subjects could give.

    Args:
        groups: (A is right, B is right, performer ids), each (n,), of every test set, which count the same; an id that
            several sets name is one performer.
        alpha: One minus the level.

    Raises:
        SkelError: If the lengths differ or are zero, or a set has fewer than two subjects.
    """
    from scipy.stats import t as student

    influence: dict[int, float] = defaultdict(float)
    difference, parts = 0.0, [set(np.unique(subjects).tolist()) for _, _, subjects in groups]
    for (a, b, subjects), names in zip(groups, parts):
        _check_paired(a, b)
        sums, clips = _per_subject(np.asarray(a, np.float64) - b, subjects)
        mean = float(sums.sum() / clips.sum())
        difference += mean / len(groups)
        for name, value in zip(sorted(names), (sums - mean * clips) / clips.sum() / len(groups)):
            influence[name] += float(value)
    count, freedom = len(influence), len(influence) - _separate(parts)
    least = 2.0 ** (1 - count)
    error = math.sqrt(count / freedom * sum(value ** 2 for value in influence.values()))
    if error < 1e-12:
        return SubjectDifference(difference, difference, difference, least if difference else 1.0, count)
    half = float(student.ppf(1 - alpha / 2, freedom)) * error
    p = max(least, 2 * float(student.sf(abs(difference) / error, freedom)))
    return SubjectDifference(difference, difference - half, difference + half, min(1.0, p), count)


def _separate(parts: Sequence[set[int]]) -> int:
    """Number of groups that are left when those with a member in common are joined: each takes a degree of freedom."""
    joined: list[set[int]] = []
    for part in parts:
        touching = [one for one in joined if one & part]
        joined = [one for one in joined if not one & part] + [part.union(*touching)]
    return len(joined)


def paired_bootstrap(a: Right, b: Right, seed: int, draws: int = 10_000, alpha: float = 0.05) -> Difference:
    """Compare two predictions of the same clips by resampling clips.

    Args:
        a: (n,) bool, A is right; or, over several seeds, the share of them that is right.
        b: (n,) the same of B.
        seed: Of the draws.
        draws: Number of resamples.
        alpha: One minus the level.

    Raises:
        SkelError: If the lengths differ or are zero.
    """
    return over_datasets([(a, b)], seed, draws, alpha)


def mcnemar(a: Bools, b: Bools) -> McNemar:
    """Test whether A and B are right equally often on the same clips.

    Args:
        a: (n,) bool, A is right.
        b: (n,) bool, B is right.

    Raises:
        SkelError: If the lengths differ or are zero.
    """
    from scipy.stats import binomtest, chi2

    n10, n01 = _discordant(a, b)
    if n10 + n01 == 0:
        return McNemar(0, 0, 1.0, 1.0)
    statistic = max(abs(n10 - n01) - 1, 0) ** 2 / (n10 + n01)
    return McNemar(n10, n01, float(binomtest(n10, n10 + n01).pvalue), float(chi2.sf(statistic, 1)))


def smallest_difference(a: Bools, b: Bools, alpha: float = 0.05) -> float:
    """Smallest accuracy difference that these clips can resolve between two methods that disagree as A and B do.

    The half-width of the normal interval of a paired difference, 1.96 sqrt(discordant share / n) at 5 %.

    Args:
        a: (n,) bool, A is right.
        b: (n,) bool, B is right.
        alpha: Of the two-sided test.
    """
    from scipy.stats import norm

    n10, n01 = _discordant(a, b)
    return float(norm.ppf(1 - alpha / 2)) * math.sqrt(n10 + n01) / len(a)


def half_width(accuracy: float, n: int, alpha: float = 0.05) -> float:
    """Binomial half-width of one accuracy on n clips (normal approximation)."""
    from scipy.stats import norm

    return float(norm.ppf(1 - alpha / 2)) * math.sqrt(accuracy * (1 - accuracy) / n)


def knows_names(labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, seed: int,
                draws: int = 20_000) -> float:
    """One-sided p-value that predictions know which class is which, by permuting the names of the predicted classes.

    Clips of a class are alike and are predicted alike, right or wrong; so are they under every naming, and the test
    holds where one that takes clips for independent draws does not. With few classes there are too few namings: up to
    six, hits are compared with the share of the most frequent class by a binomial test.

    Args:
        labels: (n,) true classes.
        predicted: (n,) predicted classes.
        classes: C.
        seed: Of the permutations.
        draws: Number of permutations.
    """
    from scipy.stats import binomtest

    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, predicted), 1)
    hits = int(np.trace(table))
    if classes <= 6:
        share = float(table.sum(axis=1).max() / table.sum())
        return float(binomtest(hits, int(table.sum()), share, alternative="greater").pvalue)
    names = np.random.default_rng(seed).permuted(np.tile(np.arange(classes), (draws, 1)), axis=1)
    found = table[np.arange(classes), names].sum(axis=1)
    return float((1 + (found >= hits).sum()) / (draws + 1))


def ranks(values: Sequence[float]) -> Floats:
    """Rank values, 1 for the largest; equal ones share the mean of their places.

    Args:
        values: Of any order.
    """
    data = np.asarray(values, dtype=np.float64)
    above = (data[None, :] > data[:, None]).sum(axis=1)
    same = (data[None, :] == data[:, None]).sum(axis=1)
    return np.asarray(above + (same + 1) / 2, dtype=np.float64)


def mean_ranks(table: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean rank of each method over datasets.

    Args:
        table: Method -> value on each dataset, in one order of datasets.

    Raises:
        SkelError: If a method lacks a dataset.
    """
    if len({len(row) for row in table.values()}) > 1:
        raise SkelError("methods were run on different datasets", "Rank complete rows only.")
    columns = np.stack([ranks(column) for column in zip(*table.values(), strict=True)])
    return dict(zip(table, columns.mean(axis=0).tolist(), strict=True))


def holm(p_values: Sequence[float]) -> Floats:
    """Holm's step-down adjustment of p-values (Holm, 1979).

    Args:
        p_values: Of a family of tests.

    Returns:
        Adjusted p-values in the same order; one below alpha is significant at family-wise level alpha.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def over_datasets(pairs: Sequence[tuple[Right, Right]], seed: int, draws: int = 10_000,
                  alpha: float = 0.05) -> Difference:
    """Compare A and B on several test sets: the mean difference, each set counting the same.

    A resampled difference needs only how often each of the few values of a clip's difference is drawn, and these
    numbers are multinomial. The p-value is twice the smaller share of resampled differences on one side of zero,
    each counting the observed sample itself (Davison & Hinkley, 1997), so it is never zero.

    Args:
        pairs: (A is right, B is right) on each test set, or shares of seeds.
        seed: Of the draws.
        draws: Number of resamples, of each set by itself.
        alpha: One minus the level.
    """
    if not pairs:
        raise SkelError("no dataset on which both were run")
    rng, total, observed = np.random.default_rng(seed), np.zeros(draws), 0.0
    for a, b in pairs:
        _check_paired(a, b)
        values, counts = np.unique(np.asarray(a, np.float64) - b, return_counts=True)
        total += rng.multinomial(len(a), counts / len(a), size=draws) @ values / len(a) / len(pairs)
        observed += float(counts @ values) / len(a) / len(pairs)
    return _difference(observed, total, alpha)


def _difference(observed: float, drawn: Floats, alpha: float) -> Difference:
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    low, high = _interval(drawn, alpha)
    return Difference(observed, low, high, min(1.0, 2 * (tail + 1) / (len(drawn) + 1)))


def _per_subject(values: NDArray[np.generic], subjects: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Sum of the values and number of the clips of each subject."""
    known, who = np.unique(subjects, return_inverse=True)
    if len(known) < 2:
        raise SkelError("one subject only: there is nothing to resample", "Use the interval over clips.")
    clips = np.bincount(who).astype(np.float64)
    return np.bincount(who, np.asarray(values, np.float64)).astype(np.float64), clips


def _discordant(a: Bools, b: Bools) -> tuple[int, int]:
    """Clips that only A, and that only B, has right."""
    _check_paired(a, b)
    return int((a & ~b).sum()), int((b & ~a).sum())


def _check_paired(a: Right, b: Right) -> None:
    if len(a) != len(b) or len(a) == 0:
        raise SkelError(f"predictions of {len(a)} and of {len(b)} clips can't be paired",
                        "Compare records of one dataset and split.")


def _interval(draws: Floats, alpha: float) -> tuple[float, float]:
    low, high = np.quantile(draws, (alpha / 2, 1 - alpha / 2))
    return float(low), float(high)


def _resampled_means(table: Floats, seed: int, draws: int) -> Floats:
    """Means of `draws` resamples of the rows of an (n, columns) table, (draws, columns)."""
    rng, n = np.random.default_rng(seed), len(table)
    if n == 0:
        raise SkelError("nothing to resample")
    step = max(1, CHUNK // n)
    parts = [table[rng.integers(n, size=(min(step, draws - done), n))].mean(axis=1)
             for done in range(0, draws, step)]
    return np.concatenate(parts)

