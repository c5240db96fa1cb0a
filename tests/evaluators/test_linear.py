import numpy as np
import pytest
import torch

from helpers.evaluation import blobs, context
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.common import moments, standardise
from ssl_skel.evaluators.linear import LinearConfig, LinearProbe
from ssl_skel.evaluators.softmax import LogisticRegression


def objective(weight, bias, features, labels, l2):
    fit = torch.nn.functional.cross_entropy(features @ weight + bias, labels)
    return float(fit + 0.5 * l2 * weight.square().sum())


@pytest.mark.oracle
@pytest.mark.parametrize(("n", "d"), [(300, 12), (60, 90)])
@pytest.mark.parametrize("l2", [0.1, 1e-3])
def test_fit_equals_sklearn(n, d, l2):
    from sklearn.linear_model import LogisticRegression as Oracle

    features, labels = blobs(n, d, 4, seed=1)
    features = standardise(features, *moments(features))
    fit = LogisticRegression(features, labels, 4).fit(l2)
    oracle = Oracle(C=1 / (n * l2), tol=1e-10, max_iter=10000).fit(features.numpy(), labels.numpy())
    close = {"atol": 1e-3, "rtol": 1e-3}
    torch.testing.assert_close(fit.weight.T, torch.tensor(oracle.coef_), **close)
    torch.testing.assert_close(fit.bias, torch.tensor(oracle.intercept_ - oracle.intercept_.mean()), **close)
    assert (fit.logits(features).argmax(1).numpy() == oracle.predict(features.numpy())).all()


def test_path_reaches_the_minimum_of_each_cold_fit():
    features, labels = blobs(200, 20, 3, seed=2)
    features = standardise(features, *moments(features))
    problem = LogisticRegression(features, labels, 3, tol=1e-8)
    penalties = (1.0, 0.01, 1e-4)
    for l2, fit in zip(penalties, problem.path(penalties), strict=True):
        cold = problem.fit(l2)
        torch.testing.assert_close(fit.weight, cold.weight, atol=1e-4, rtol=1e-4)
        assert fit.loss == pytest.approx(objective(fit.weight, fit.bias, features, labels, l2), rel=1e-9)


def test_gradient_vanishes_by_autograd():
    features, labels = blobs(150, 30, 5, seed=3)
    fit = LogisticRegression(features, labels, 5).fit(1e-3)
    weight, bias = fit.weight.clone().requires_grad_(), fit.bias.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(features @ weight + bias, labels)
    (loss + 0.5e-3 * weight.square().sum()).backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-5


def test_absent_class_takes_no_part():
    features, labels = blobs(100, 8, 3, seed=4)
    labels = torch.where(labels == 1, 3, labels)
    fit = LogisticRegression(features, labels, 4).fit(0.01)
    assert not torch.isin(fit.logits(features).argmax(1), torch.tensor([1])).any()
    assert fit.bias[1] == -torch.inf


@pytest.mark.oracle
@pytest.mark.parametrize("fusion", ["single", "concat", "scores"])
def test_probe_equals_sklearn_by_hand(fusion):
    from sklearn.linear_model import LogisticRegression as Oracle
    from sklearn.preprocessing import StandardScaler

    ctx, labels = context(streams=1 if fusion == "single" else 2, fusion=fusion, classes=6)
    penalties = (0.3, 0.03, 0.003)
    result = LinearProbe(LinearConfig(l2=penalties)).evaluate(ctx)
    names = sorted(ctx.train.streams)
    groups = [[n] for n in names] if fusion == "scores" else [names]
    total = 0.0
    for group in groups:
        train = np.hstack([ctx.train.streams[n].double().numpy() for n in group])
        test = np.hstack([ctx.test.streams[n].double().numpy() for n in group])
        y, val = ctx.train.labels.numpy(), ctx.val.numpy()
        scaler = StandardScaler().fit(train[~val])

        def fit(x, y, l2):
            return Oracle(C=1 / (len(x) * l2), tol=1e-9, max_iter=5000).fit(x, y)

        fitted, held = scaler.transform(train[~val]), scaler.transform(train[val])
        accuracy = [fit(fitted, y[~val], l2).score(held, y[val]) for l2 in penalties]
        l2 = penalties[int(np.argmax(accuracy))]
        assert (result.chosen[group[0]] if fusion == "scores" else result.chosen)["l2"] == l2
        scaler = StandardScaler().fit(train)
        total = total + fit(scaler.transform(train), y, l2).predict_proba(scaler.transform(test))
    assert (result.top[:, 0].numpy() == np.argmax(total, 1)).mean() > 0.995
    metrics = LinearProbe(LinearConfig()).score(result, labels, 6)
    assert metrics["top1"] == pytest.approx((np.argmax(total, 1) == labels.numpy()).mean(), abs=0.01)


def test_standardised_probe_is_blind_to_scale_and_constants():
    ctx, _ = context()
    probe = LinearProbe(LinearConfig(l2=(0.1, 0.01)))

    def scaled(part):
        features = part.streams["a"] * 1000 + 7
        return {"a": torch.cat([features, torch.full((len(features), 2), 3.7)], dim=1)}

    other, _ = context(change=scaled)
    assert torch.equal(probe.evaluate(ctx).top, probe.evaluate(other).top)


def test_probe_is_deterministic():
    probe = LinearProbe(LinearConfig())
    assert torch.equal(probe.evaluate(context()[0]).top, probe.evaluate(context()[0]).top)


@pytest.mark.parametrize(("kwargs", "reason"), [
    ({"subjects": 1}, "held-out"),
    ({"streams": 2, "fusion": "single"}, "fusion"),
    ({"classes": 4, "declared": 5}, "no clip of class 4"),
    ({"change": lambda part: {"a": part.streams["a"] * torch.nan}}, "NaN"),
])
def test_refusals(kwargs, reason):
    with pytest.raises(SkelError, match=reason):
        LinearProbe(LinearConfig()).evaluate(context(**kwargs)[0])


def test_features_that_are_all_the_same_are_refused_not_scored_as_the_prior():
    ctx, _ = context(change=lambda part: {"a": torch.ones_like(part.streams["a"])})
    with pytest.raises(SkelError, match="the same features for all 160 training clips"):
        LinearProbe(LinearConfig(l2=(0.1,))).evaluate(ctx)


def test_separated_classes_with_next_to_no_penalty_end_in_a_fit() -> None:
    gen = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    features = torch.randn(64, 200, generator=gen) * 0.1
    features[torch.arange(64), labels] += 5
    fit = LogisticRegression(features, labels, 4, tol=1e-12).fit(1e-7)  # a tolerance that float32 can't reach
    assert torch.equal(fit.logits(features).argmax(1), labels)
