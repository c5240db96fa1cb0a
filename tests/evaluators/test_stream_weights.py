"""Fixed weights of streams whose scores are added up."""

from dataclasses import replace

import pytest
import torch

from helpers.evaluation import context
from helpers.moving import moving_context
from ssl_skel.evaluators.fewshot import FewShot, FewShotConfig
from ssl_skel.evaluators.finetune import FineTune
from ssl_skel.evaluators.knn import KNN, KNNConfig
from ssl_skel.evaluators.linear import LinearConfig, LinearProbe
from ssl_skel.evaluators.retrieval import Retrieval

FROZEN = {"linear": LinearProbe(LinearConfig()), "knn": KNN(KNNConfig()), "retrieval": Retrieval(Retrieval.Config()),
          "fewshot": FewShot(FewShotConfig(draws=3))}


def alone(ctx, name):
    keep = {part: replace(getattr(ctx, part), streams={name: getattr(ctx, part).streams[name]})
            for part in ("train", "test")}
    return replace(ctx, fusion="single", **keep)


@pytest.mark.parametrize("name", FROZEN)
def test_a_stream_that_counts_for_all_decides(name):
    ctx, _ = context(streams=2, fusion="scores", classes=6)
    first, second = sorted(ctx.train.streams)
    evaluator = FROZEN[name]
    for strong, weak in ((first, second), (second, first)):
        heavy = evaluator.evaluate(replace(ctx, weights={strong: 1e6, weak: 1e-6})).top[:, 0]
        assert torch.equal(heavy, evaluator.evaluate(alone(ctx, strong)).top[:, 0])
    assert not torch.equal(*(evaluator.evaluate(alone(ctx, stream)).top[:, 0] for stream in (first, second)))


@pytest.mark.parametrize("name", FROZEN)
def test_equal_weights_change_nothing(name):
    ctx, _ = context(streams=2, fusion="scores", classes=6)
    equal = dict.fromkeys(ctx.train.streams, 2.0)
    evaluator = FROZEN[name]
    assert torch.equal(evaluator.evaluate(ctx).top, evaluator.evaluate(replace(ctx, weights=equal)).top)


def test_weights_belong_to_summed_scores_only():
    ctx, _ = context(streams=2, fusion="concat", classes=6)
    lopsided = replace(ctx, weights={sorted(ctx.train.streams)[0]: 1e6})
    for evaluator in FROZEN.values():
        assert torch.equal(evaluator.evaluate(ctx).top, evaluator.evaluate(lopsided).top)


def test_fine_tuned_networks_are_weighed():
    ctx, _ = moving_context(streams=2, fusion="scores")
    first, second = sorted(ctx.train.streams)
    evaluator = FineTune(FineTune.Config(epochs=2))
    one, other = (evaluator.evaluate(replace(ctx, weights={strong: 1e6, weak: 1e-6})).top[:, 0]
                  for strong, weak in ((first, second), (second, first)))
    assert not torch.equal(one, other)
