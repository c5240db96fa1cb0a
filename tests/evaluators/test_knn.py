import numpy as np
import pytest
import torch

from helpers.evaluation import context
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.knn import KNN, KNNConfig


@pytest.mark.oracle
@pytest.mark.parametrize("fusion", ["single", "concat"])
def test_equals_sklearn(fusion):
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    ctx, labels = context(streams=1 if fusion == "single" else 2, fusion=fusion, classes=6)
    result = KNN(KNNConfig()).evaluate(ctx)
    train = np.hstack([normalize(x.double().numpy()) for x in ctx.train.streams.values()])
    test = np.hstack([normalize(x.double().numpy()) for x in ctx.test.streams.values()])
    y = ctx.train.labels.numpy()
    one = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(train, y).predict(test)
    vote = KNeighborsClassifier(20, metric="cosine", algorithm="brute",
                                weights=lambda dist: np.exp(-dist / 0.1)).fit(train, y).predict(test)
    assert (result.top[:, 0].numpy() == one).all()
    assert (result.extra["k20"][:, 0].numpy() == vote).all()
    metrics = KNN(KNNConfig()).score(result, labels, 6)
    assert metrics["top1"] == pytest.approx((one == labels.numpy()).mean())
    assert metrics["k20_top1"] == pytest.approx((vote == labels.numpy()).mean())
    assert set(metrics) == {"top1", "mean_class", "k20_top1", "k20_top5", "k20_mean_class"}


def test_fused_scores_are_the_sum_of_votes():
    ctx, _ = context(streams=2, fusion="scores", classes=6)
    votes = 0.0
    for name in "ab":
        train = torch.nn.functional.normalize(ctx.train.streams[name].double(), dim=1)
        similarity = torch.nn.functional.normalize(ctx.test.streams[name].double(), dim=1) @ train.T
        value, index = similarity.topk(20, dim=1)
        near = torch.nn.functional.one_hot(ctx.train.labels[index], 6)
        votes = votes + (torch.exp(value / 0.1)[..., None] * near).sum(1)
    assert torch.equal(KNN(KNNConfig()).evaluate(ctx).extra["k20"][:, 0], votes.argmax(1))


def test_one_neighbour_leads_its_own_ranking():
    memory = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.11], [0.0, 1.0]]), dim=1)
    first, vote = KNN(KNNConfig(k=3)).rank([(memory, memory[:1])], torch.tensor([2, 1, 1, 0]), 3)
    assert first.tolist() == [[2, 1, 0]]
    assert vote.tolist() == [[1, 2, 0]]


def test_fewer_clips_than_neighbours():
    ctx, _ = context(n=18, classes=3)
    assert KNN(KNNConfig()).evaluate(ctx).extra["k20"].shape == (6, 3)


def test_one_subject_is_enough():
    assert len(KNN(KNNConfig()).evaluate(context(subjects=1)[0]).top) == 80


@pytest.mark.parametrize(("change", "reason"), [
    (lambda part: {"a": part.streams["a"] * 0}, "zero length"),
    (lambda part: {"a": part.streams["a"] / 0}, "NaN"),
])
def test_refusals(change, reason):
    with pytest.raises(SkelError, match=reason):
        KNN(KNNConfig()).evaluate(context(change=change)[0])
