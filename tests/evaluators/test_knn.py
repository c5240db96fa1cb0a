import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.evaluation import context
from ssl_skel.errors import SkelError
from ssl_skel.evaluators import knn as module
from ssl_skel.evaluators.knn import Knn, KnnConfig, neighbours


@pytest.mark.oracle
@pytest.mark.parametrize("fusion", ["single", "concat", "scores"])
def test_equals_sklearn(fusion, monkeypatch):
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    monkeypatch.setattr(module, "BLOCK", 7)
    ctx, labels = context(streams=1 if fusion == "single" else 2, fusion=fusion, classes=6)
    result = Knn(KnnConfig()).evaluate(ctx)
    train = {n: normalize(x.double().numpy()) for n, x in ctx.train.streams.items()}
    test = {n: normalize(x.double().numpy()) for n, x in ctx.test.streams.items()}
    y = ctx.train.labels.numpy()
    if fusion == "scores":
        votes = 0.0
        nearest = 0.0
        for name in train:
            similarity = test[name] @ train[name].T
            nearest = nearest + np.stack([similarity[:, y == c].max(1) for c in range(6)], 1)
            votes = votes + weighted(train[name], test[name], y).predict_proba(test[name]) * total(similarity)
        one, vote = nearest.argmax(1), votes.argmax(1)
    else:
        train, test = np.hstack(list(train.values())), np.hstack(list(test.values()))
        one = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(train, y).predict(test)
        vote = weighted(train, test, y, streams=len(ctx.train.streams)).predict(test)
    assert (result.top[:, 0].numpy() == one).all()
    assert (result.extra["k20"][:, 0].numpy() == vote).all()
    metrics = Knn(KnnConfig()).score(result, labels, 6)
    assert metrics["top1"] == pytest.approx((one == labels.numpy()).mean())
    assert metrics["k20_top1"] == pytest.approx((vote == labels.numpy()).mean())
    assert metrics["top5"] >= metrics["top1"]
    assert "k20_top5" in metrics


def weighted(train, test, y, streams=1):
    """The cosine of concatenated unit vectors is the mean of theirs; ours adds them up."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(20, metric="cosine", algorithm="brute",
                                weights=lambda dist: np.exp(streams * (1 - dist) / 0.1)).fit(train, y)


def total(similarity):
    return np.exp((np.sort(similarity, 1)[:, -20:] - 1) / 0.1).sum(1, keepdims=True)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_ties_go_to_the_first(seed, n, k):
    values = torch.randint(0, 3, (5, n), generator=torch.Generator().manual_seed(seed)).float()
    k = min(k, n)
    found, index = neighbours(values.clone(), k)
    want = torch.sort(values, dim=1, descending=True, stable=True)
    assert torch.equal(found, want.values[:, :k])
    assert torch.equal(index.sort(dim=1).values, want.indices[:, :k].sort(dim=1).values)


def test_fewer_clips_than_neighbours():
    ctx, _ = context(n=18, classes=3)
    assert Knn(KnnConfig()).evaluate(ctx).extra["k20"].shape == (6, 3)


def test_one_subject_is_enough():
    assert len(Knn(KnnConfig()).evaluate(context(subjects=1)[0]).top) == 80


@pytest.mark.parametrize(("change", "reason"), [
    (lambda part: {"a": part.streams["a"] * 0}, "zero length"),
    (lambda part: {"a": part.streams["a"] / 0}, "NaN"),
])
def test_refusals(change, reason):
    with pytest.raises(SkelError, match=reason):
        Knn(KnnConfig()).evaluate(context(change=change)[0])
