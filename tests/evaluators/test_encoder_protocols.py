from dataclasses import replace

import pytest
import torch

from helpers.moving import Small, moving_context
from ssl_skel.errors import Diverged, SkelError
from ssl_skel.evaluators.early import Early, EarlyConfig
from ssl_skel.evaluators.finetune import FineTune
from ssl_skel.evaluators.finetuning import Classifier, TrainingConfig
from ssl_skel.evaluators.frozen import FrozenProbe
from ssl_skel.evaluators.linear import LinearConfig, LinearProbe
from ssl_skel.evaluators.robustness import Robustness, RobustnessConfig, summary
from ssl_skel.evaluators.semi import Semi, SemiConfig, labelled, names_sha256

L2 = (0.1, 0.01)


@pytest.mark.parametrize("fusion", ["single", "concat", "scores"])
def test_frozen_probe_is_the_linear_probe_on_unchanged_clips(fusion):
    ctx, _ = moving_context(streams=1 if fusion == "single" else 2, fusion=fusion)
    probe = FrozenProbe(ctx, L2)
    linear = LinearProbe(LinearConfig(l2=L2)).evaluate(ctx)
    scores = probe.changed(lambda batch: batch)
    torch.testing.assert_close(scores, probe.scores(ctx.test.streams))
    assert torch.equal(scores.argmax(1), linear.top[:, 0])
    assert dict(probe.chosen) == dict(linear.chosen)


def test_robustness_scores_every_severity():
    ctx, labels = moving_context(persons=2)
    evaluator = Robustness(RobustnessConfig(l2=L2))
    result = evaluator.evaluate(ctx)
    metrics = evaluator.score(result, labels, 3)
    assert len(result.extra) == 35
    assert all(len(top) == len(labels) for top in result.extra.values())
    assert metrics["noise/5/top1"] < metrics["noise/1/top1"]
    assert metrics["noise/1/top1"] == pytest.approx(metrics["top1"], abs=0.2)
    assert 0 < metrics["noise/relative_drop"] < 1
    curve = [metrics[f"noise/{s}/top1"] for s in range(1, 6)]
    assert {k: metrics[f"noise/{k}"] for k in ("area", "relative_drop")} == summary(metrics["top1"], curve)
    again = evaluator.evaluate(ctx)
    assert all(torch.equal(again.extra[key], top) for key, top in result.extra.items())


def test_one_person_can_not_be_dropped():
    ctx, _ = moving_context(persons=1)
    keys = Robustness(RobustnessConfig(l2=L2, corruptions=("person", "view"))).evaluate(ctx).extra
    assert set(keys) == {f"view/{severity}" for severity in range(1, 6)}


def test_curve_summary_by_hand():
    """Trapezia under 0.8, 0.6, 0.2 of width 2: (0.7 + 0.4) / 2; half of the clean accuracy is lost on average."""
    assert summary(0.8, [0.6, 0.2]) == pytest.approx({"area": 0.55, "relative_drop": 0.5})


def test_early_rises_to_the_whole_clip():
    ctx, labels = moving_context(frames=20)
    evaluator = Early(EarlyConfig(percent=(10, 90), l2=L2))
    metrics = evaluator.score(evaluator.evaluate(ctx), labels, 3)
    assert metrics["observed/10/top1"] < metrics["observed/90/top1"]
    assert metrics["area"] == pytest.approx(
        (metrics["observed/10/top1"] + metrics["observed/90/top1"] + metrics["top1"]) / 3)


@pytest.mark.parametrize("fusion", ["single", "concat", "scores"])
def test_finetune_learns_and_leaves_everything_as_it_was(fusion):
    ctx, labels = moving_context(streams=1 if fusion == "single" else 2, fusion=fusion)
    before = [p.clone() for e in ctx.encoders.values() for p in e.state_dict().values()]
    state = torch.get_rng_state()
    evaluator = FineTune(TrainingConfig(epochs=15, batch=16, lr=0.01))
    result = evaluator.evaluate(ctx)
    assert torch.equal(torch.get_rng_state(), state)
    after = [p for e in ctx.encoders.values() for p in e.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert evaluator.score(result, labels, 3)["top1"] > 0.8
    assert torch.equal(evaluator.evaluate(ctx).top, result.top)


def test_finetune_with_dropout_is_repeatable_and_seeded():
    ctx, _ = moving_context()
    ctx = replace(ctx, encoders={"a": Small(ctx.test_clips.layout, 0, dropout=0.5)})
    evaluator = FineTune(TrainingConfig(epochs=1, batch=16, head_dropout=0.5, layer_decay=0.8))
    first = evaluator.evaluate(ctx).top
    torch.rand(3)
    assert torch.equal(evaluator.evaluate(ctx).top, first)
    assert not torch.equal(evaluator.evaluate(replace(ctx, seed=1)).top, first)


def test_frozen_batch_norm_keeps_its_statistics():
    ctx, _ = moving_context()
    model = Classifier(list(ctx.encoders.values()), 3, 0.0)
    before = model.encoders[0].norm.running_mean.clone()
    for mode, same in (("frozen", True), ("train", False)):
        model.mode(mode)
        model(ctx.train_clips.batch(torch.arange(16)))
        assert torch.equal(model.encoders[0].norm.running_mean, before) == same


def test_finetune_that_diverges_says_so():
    ctx, _ = moving_context()
    with pytest.raises(Diverged):
        FineTune(TrainingConfig(epochs=3, lr=1e30, warmup=0.0)).evaluate(ctx)


def test_semi_averages_its_draws():
    ctx, labels = moving_context()
    evaluator = Semi(SemiConfig(percent=20, draws=3, epochs=4, batch=8, lr=0.01))
    result = evaluator.evaluate(ctx)
    metrics = evaluator.score(result, labels, 3)
    each = [float((result.extra[f"draw{i}"][:, 0] == labels).double().mean()) for i in range(3)]
    assert metrics["mean_top1"] == pytest.approx(sum(each) / 3)
    assert metrics["sd_top1"] == pytest.approx(float(torch.tensor(each).std()), abs=1e-6)
    assert metrics["top1"] == pytest.approx(each[0])
    assert result.chosen["labels"] == 18
    assert len(set(result.chosen["labels_sha256"])) == 3


def test_labelled_clips_depend_on_names_only():
    names, labels = [f"clip{i}" for i in range(200)], torch.arange(200) % 4
    some = labelled(names, labels, 10, 0)
    assert torch.bincount(labels[some]).tolist() == [5, 5, 5, 5]
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    again = order[labelled([names[int(i)] for i in order], labels[order], 10, 0)]
    assert sorted(again.tolist()) == some.tolist()
    assert set(some.tolist()) < set(labelled(names, labels, 40, 0).tolist())
    assert set(some.tolist()) != set(labelled(names, labels, 10, 1).tolist())
    assert torch.bincount(labels[labelled(names, labels, 0.01, 0)]).tolist() == [1, 1, 1, 1]
    assert names_sha256([names[int(i)] for i in some]) == (
        "c27a43c6c3d7d43d077b78b99fd29bc68b8399c9f8ba5240af158c36cd15b358")


def test_encoders_are_asked_for():
    ctx, _ = moving_context()
    with pytest.raises(SkelError, match="needs the encoders"):
        FineTune(TrainingConfig()).evaluate(replace(ctx, encoders={}, train_clips=None, test_clips=None))
