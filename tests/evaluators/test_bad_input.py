"""Features and splits from which nothing can be told are refused with the reason, by every registered evaluator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers.moving import moving_context
from ssl_skel.api import EvalContext, Evaluator, FeatureSet
from ssl_skel.errors import BadData, Diverged, SkelError
from ssl_skel.registry import bundled_root, discover
from ssl_skel.schema import RegistryFile
from ssl_skel.yamlio import load_yaml

SHIPPED = sorted(RegistryFile.model_validate(load_yaml(bundled_root() / "registry.yaml")).evaluators)
SMALL = {"l2": (0.1,), "lr": (0.1,), "epochs": 1, "starts": 1, "draws": 1, "percent": (50,), "corruptions": ("noise",)}
TRAINED = {"finetune", *(f"semi-{p}" for p in (1, 5, 10, 20, 40))}
"""They read no features: what is wrong with an encoder shows when it is trained."""


def build(name: str) -> Evaluator:
    """A registered evaluator with its own keys, made small."""
    entry = discover().get("evaluators", name)
    cls = entry.load()
    plain = cls.Config()
    small = {key: value for key, value in SMALL.items() if key in cls.Config.model_fields
             and isinstance(getattr(plain, key), tuple) == isinstance(value, tuple)}
    return cls(cls.Config(**{**small, **entry.config}))  # type: ignore[no-any-return]


def featured(change: object, test: bool = False) -> EvalContext:
    """An evaluation whose training (or test) features were changed."""
    ctx, _ = moving_context()
    part: FeatureSet = ctx.test if test else ctx.train
    changed = replace(part, streams={"a": change(part.streams["a"].clone())})  # type: ignore[operator]
    return replace(ctx, test=changed) if test else replace(ctx, train=changed)


def one_nan(features: Tensor) -> Tensor:
    features[3, 1] = torch.nan
    return features


def constant(features: Tensor) -> Tensor:
    return features[:1].expand(len(features), -1).clone()


def rounding(features: Tensor) -> Tensor:
    """What a collapsed encoder gives: the same vector up to the last bits."""
    return 7 + 1e-7 * features


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - TRAINED))
@pytest.mark.parametrize(("change", "why"), [
    (one_nan, "has NaN or infinite features for 1 clip"), (constant, "has the same features for all 96 training"),
    (rounding, "has the same features for all 96 training")])
def test_features_that_tell_nothing_are_refused(name: str, change: object, why: str) -> None:
    with pytest.raises(BadData, match=why):
        build(name).evaluate(featured(change))


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - TRAINED))
def test_test_features_with_nan_are_refused(name: str) -> None:
    with pytest.raises(BadData, match="has NaN or infinite features for 1 clip"):
        build(name).evaluate(featured(one_nan, test=True))


@pytest.mark.parametrize("name", ["finetune", "semi-10"])
def test_an_encoder_with_nan_weights_diverges_when_it_is_trained(name: str) -> None:
    ctx, _ = moving_context()
    with torch.no_grad():
        ctx.encoders["a"].mix.bias.fill_(torch.nan)  # type: ignore[attr-defined]
    with pytest.raises(Diverged):
        build(name).evaluate(ctx)


def known(ctx: EvalContext) -> EvalContext:
    """What is known when planned."""
    train, test = (replace(part, streams={}) for part in (ctx.train, ctx.test))
    return replace(ctx, train=train, test=test, encoders={}, train_clips=None, test_clips=None)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_evaluator_checks_the_split_when_planned(name: str) -> None:
    """A good split passes; an absent class and a single test clip do not; held-out subjects where they are needed."""
    evaluator, ctx = build(name), known(moving_context()[0])
    evaluator.check(evaluator.cfg, ctx)
    labels = ctx.train.labels
    assert labels is not None
    absent = replace(ctx, train=replace(ctx.train, labels=labels.clamp(max=1)))
    with pytest.raises(BadData, match="no clip of class 2"):
        evaluator.check(evaluator.cfg, absent)
    alone = replace(ctx, test=FeatureSet({}, ctx.test.names[:1], ctx.test.subjects[:1]))
    with pytest.raises(BadData, match="the test part has 1 clip"):
        evaluator.check(evaluator.cfg, alone)
    lonely = replace(ctx, val=torch.zeros_like(ctx.val))
    if name in {"linear", "linear-sgd", "best-on-test", "shuffled", "early", "robustness", "transfer"}:
        with pytest.raises(SkelError, match="nothing can be chosen"):
            evaluator.check(evaluator.cfg, lonely)
    else:
        evaluator.check(evaluator.cfg, lonely)


def test_exemplars_need_no_class_in_training() -> None:
    """The one-shot split of NTU RGB+D 120: 20 classes are novel, and only `fewshot` can be run on it."""
    ctx = known(moving_context()[0])
    assert ctx.train.labels is not None
    one_shot = replace(ctx, train=replace(ctx.train, labels=ctx.train.labels.clamp(max=1)), support=ctx.test)
    fewshot = build("fewshot")
    fewshot.check(fewshot.cfg, one_shot)
    with pytest.raises(SkelError, match="fewer than shot = 40"):
        fewshot.check(fewshot.cfg.model_copy(update={"shot": 40}), ctx)
