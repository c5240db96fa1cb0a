import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from ssl_skel.bench import stats
from ssl_skel.errors import SkelError

# Ten clips, worked by hand: both right 4, only A 4, only B 1, none 1.
A = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], bool)
B = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0], bool)


def test_hand_worked_comparison():
    test = stats.mcnemar(A, B)
    assert (test.only_a, test.only_b) == (4, 1)
    assert test.p_exact == pytest.approx(2 * (1 + 5) / 2**5)
    assert test.p_chi2 == pytest.approx(math.erfc(math.sqrt((4 - 1 - 1) ** 2 / 5 / 2)))
    assert stats.smallest_difference(A, B) == pytest.approx(1.959964 * math.sqrt(5) / 10, rel=1e-6)
    found = stats.paired_bootstrap(A, B, seed=0)
    assert found.difference == pytest.approx(0.3)
    assert found.low <= 0 <= 0.3 <= found.high


def test_hand_worked_spread():
    """0.80, 0.82, 0.87: mean 0.83, sd 0.036056, t(2, 97.5 %) = 4.302653."""
    got = stats.spread([0.80, 0.82, 0.87])
    assert (got.mean, got.sd) == (pytest.approx(0.83), pytest.approx(0.0360555, rel=1e-5))
    assert got.high - got.mean == pytest.approx(4.302653 * 0.0360555 / math.sqrt(3), rel=1e-5)
    assert got.mean - got.low == pytest.approx(got.high - got.mean)
    assert math.isnan(stats.spread([0.5]).sd)


@pytest.mark.oracle
def test_spread_equals_scipy():
    from scipy import stats as oracle

    values = np.random.default_rng(0).normal(size=7)
    low, high = oracle.t.interval(0.95, 6, values.mean(), oracle.sem(values))
    got = stats.spread(values.tolist())
    assert (got.low, got.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.oracle
def test_bootstraps_equal_scipy():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    right = rng.random(120) < 0.7
    want = bootstrap((right,), np.mean, method="percentile", n_resamples=9000, random_state=0).confidence_interval
    assert stats.bootstrap_clips(right, seed=3, draws=9000) == pytest.approx(tuple(want), abs=0.01)
    other = rng.random(120) < 0.6
    want = bootstrap((right, other), lambda a, b, axis: (a.mean(axis) - b.mean(axis)), paired=True, vectorized=True,
                     method="percentile", n_resamples=9000, random_state=0).confidence_interval
    got = stats.paired_bootstrap(right, other, seed=4)
    assert (got.low, got.high) == pytest.approx(tuple(want), abs=0.012)


@pytest.mark.oracle
def test_subject_bootstrap_equals_scipy():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(2)
    subjects = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    right = rng.random(len(subjects)) < rng.random(12)[subjects]
    sums, counts = np.bincount(subjects, right), np.bincount(subjects)
    want = bootstrap((sums, counts), lambda s, c, axis: s.sum(axis) / c.sum(axis), paired=True, vectorized=True,
                     method="percentile", n_resamples=9000, random_state=0).confidence_interval
    got = stats.bootstrap_subjects(right, subjects, seed=0, draws=9000)
    assert got == pytest.approx(tuple(want), abs=0.015)
    clips = stats.bootstrap_clips(right, seed=0)
    assert got[1] - got[0] > clips[1] - clips[0]


def test_subject_interval_is_the_cluster_robust_one():
    rng = np.random.default_rng(2)
    subjects = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    right, other = rng.random(len(subjects)) < rng.random(12)[subjects], rng.random(len(subjects)) < 0.5
    values = right.astype(float) - other
    sums, counts, n = np.bincount(subjects, values), np.bincount(subjects), len(right)
    paired = stats.paired_subjects([(right, other, subjects)])
    count = len(counts)
    error = np.sqrt(count / (count - 1) * sum((s - values.mean() * c) ** 2 for s, c in zip(sums, counts))) / n
    interval = t.interval(0.95, count - 1, values.mean(), error)
    assert (paired.low, paired.high) == pytest.approx(interval)
    assert paired.p == pytest.approx(2 * t.sf(abs(values.mean()) / error, count - 1))
    assert paired.subjects == count
    assert paired.difference == pytest.approx(right.mean() - other.mean())


@pytest.mark.oracle
@settings(deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.7]), min_size=1, max_size=12))
def test_ranks_equal_scipy(values):
    from scipy.stats import rankdata

    assert stats.ranks(values).tolist() == rankdata([-v for v in values]).tolist()


@pytest.mark.oracle
@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_scipy(n10, n01):
    from scipy.stats import binomtest

    a = np.array([True] * n10 + [False] * n01 + [True] * 5)
    b = np.array([False] * n10 + [True] * n01 + [True] * 5)
    want = binomtest(min(n10, n01), n10 + n01).pvalue if n10 + n01 else 1.0
    assert stats.mcnemar(a, b).p_exact == pytest.approx(want)


def test_holm_by_hand():
    """Holm (1979): 0.01 x 4, 0.02 x 3, 0.03 x 2, then never below the one before."""
    assert stats.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_mean_ranks():
    table = {"a": [0.9, 0.5], "b": [0.8, 0.5], "c": [0.7, 0.6]}
    assert stats.mean_ranks(table) == {"a": 1.75, "b": 2.25, "c": 2.0}
    with pytest.raises(SkelError):
        stats.mean_ranks({"a": [1.0], "b": [1.0, 2.0]})


def test_over_datasets_counts_sets_alike():
    small, large = (A, B), (np.tile(B, 20), np.tile(A, 20))
    found = stats.over_datasets([small, large], seed=0)
    assert found.difference == pytest.approx(0.0)
    assert stats.over_datasets([small] * 8, seed=0).p < stats.over_datasets([small], seed=0).p


def test_same_predictions_differ_in_nothing():
    found = stats.paired_bootstrap(A, A, seed=0)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert stats.mcnemar(A, A).p_exact == 1


def test_pairs_of_subjects_by_hand():
    """Subject 7 wins 2 of 2, subject 9 none of 4: mean 1/3, residuals 4/3 and -4/3, error sqrt(2 * 32/9) / 6 = 4/9."""
    a, b = np.array([1, 1, 0, 0, 0, 0], bool), np.zeros(6, bool)
    who = np.array([7, 7, 9, 9, 9, 9])
    found = stats.paired_subjects([(a, b, who)])
    assert found.difference == pytest.approx(2 / 6)
    assert found.high - found.difference == pytest.approx(t.ppf(0.975, 1) * 4 / 9)
    assert found.p == pytest.approx(2 * t.sf(3 / 4, 1))
    twice = stats.paired_subjects([(a, b, who), (b, a, np.arange(10, 16))])
    assert (twice.difference, twice.subjects) == (0, 8)
    same = stats.paired_subjects([(a, b, who), (a, b, who)])  # the same performers in two sets tell nothing more
    assert same == found


def test_few_subjects_are_never_significant_for_being_alike():
    a, b, who = np.ones(8, bool), np.zeros(8, bool), np.repeat(np.arange(4), 2)
    assert stats.paired_subjects([(a, b, who)]).p == 1 / 8  # as many as 4 coins that fall on one side
    assert stats.paired_subjects([(a, a, who)]).p == 1


@pytest.mark.parametrize("count", [3, 4, 10])
def test_subjects_that_differ_by_chance_are_called_different_rarely(count):
    """The rate of false alarms at 5 %; resampling subjects gave 17, 16 and 9 %."""
    rng, alarms = np.random.default_rng(count), 0
    for _ in range(1000):
        who = np.repeat(np.arange(count), rng.integers(8, 20, count))
        lean = rng.normal(0, 0.15, count)[who]
        a, b = rng.random(len(who)) < 0.6 + lean, rng.random(len(who)) < 0.6 - lean
        alarms += stats.paired_subjects([(a, b, who)]).p < 0.05
    assert alarms < 80


@pytest.mark.parametrize("call", [
    lambda: stats.mcnemar(A, B[:5]), lambda: stats.spread([]), lambda: stats.over_datasets([], 0),
    lambda: stats.bootstrap_subjects(A, np.zeros(10, int), 0),
    lambda: stats.paired_subjects([(A, B, np.zeros(10, int))]),
])
def test_refusals(call):
    with pytest.raises(SkelError):
        call()


def test_binomial_half_width():
    """NTU60 cross-subject, 85 % of 16,487 clips: +-0.55 points."""
    assert stats.half_width(0.85, 16487) == pytest.approx(0.0055, abs=1e-4)


def test_predictions_that_know_the_names_and_those_that_do_not():
    """Clusters without names are right for a tenth of the clips on average, however pure; names show at once."""
    labels = np.repeat(np.arange(10), 40)
    rng = np.random.default_rng(0)
    assert stats.knows_names(labels, labels, 10, seed=0) < 1e-4
    leaking = np.where(rng.random(400) < 0.3, labels, rng.integers(10, size=400))
    assert stats.knows_names(labels, leaking, 10, seed=0) < 1e-3
    renamed = np.roll(np.arange(10), 3)[labels]
    renamed[labels == 0] = 0  # one pure cluster happens to bear the right name: 40 hits, as many as chance gives
    assert stats.knows_names(labels, renamed, 10, seed=0) > 0.2


def test_names_by_hand():
    """Seven classes, one clip each, all right: one of 7! namings does as well."""
    labels = np.arange(7)
    assert stats.knows_names(labels, labels, 7, seed=0, draws=50_000) == pytest.approx(1 / 5040, rel=0.5)
    # Two classes of five clips, nine right: binomial tail of 9 or 10 hits in 10 at 1/2.
    two = np.repeat([0, 1], 5)
    assert stats.knows_names(two, np.where(np.arange(10) == 0, 1, two), 2, seed=0) == pytest.approx(11 / 1024)
