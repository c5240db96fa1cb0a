"""The contract of an evaluator: it predicts test clips without looking at their labels, and chooses without them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from pydantic import BaseModel
from torch import Tensor

from ssl_skel.api import Backbone, Batch, EvalContext, EvalResult, Evaluator, FeatureSet
from ssl_skel.bench.features import encode
from ssl_skel.contract.subject import SEED, Skipped, Subject, Violation, require, untouched_rng
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.nn.pointmlp import PointMLP, PointMLPConfig
from ssl_skel.seed import generator
from ssl_skel.yamlio import validate

CLASSES, TRAIN, TEST, SUBJECTS, FRAMES = 3, 72, 36, 4, 8


@dataclass
class _Source:
    """Clips in memory, as evaluators get them (`api.ClipSource`)."""

    xyz: Tensor
    valid: Tensor
    layout: Layout

    def __len__(self) -> int:
        return len(self.xyz)

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.xyz[index], self.valid[index], index, self.layout)

    def prefetch(self, index: Tensor) -> None:
        """Nothing to gather."""


class _Guarded(FeatureSet):
    """A test part whose labels can't be read."""

    @property
    def labels(self) -> Tensor:
        raise Violation("it read the labels of the test part")

    @classmethod
    def of(cls, part: FeatureSet) -> _Guarded:
        made = object.__new__(cls)
        for name in ("streams", "names", "subjects"):
            object.__setattr__(made, name, getattr(part, name))
        return made


def evaluator_is_one(subject: Subject) -> None:
    """Importing it draws nothing; class, version, needs and Config are what they should be."""
    with untouched_rng("importing it"):
        cls = subject.entry.load()
    require(isinstance(cls, type) and issubclass(cls, Evaluator), f"{subject.entry.target} is no Evaluator")
    require(isinstance(cls.version, int) and cls.version >= 1, f"its version is {cls.version!r}, not 1 or more")
    require(cls.needs in ("features", "encoder"), f"it needs {cls.needs!r}; known are 'features' and 'encoder'")
    require(isinstance(cls.Config, type) and issubclass(cls.Config, BaseModel), "its Config is no pydantic model")
    _build(subject)


def predictions_are_classes(subject: Subject) -> None:
    """`top` holds different classes for every test clip, best first; every extra prediction has a row a test clip."""
    ctx, _ = _situation()
    top = _evaluate(subject, ctx).top
    require(top.ndim == 2 and len(top) == TEST and top.dtype == torch.int64,
            f"top is {tuple(top.shape)} {top.dtype}, not ({TEST}, K) int64")
    require(bool(((top >= 0) & (top < CLASSES)).all()), f"top names classes outside 0..{CLASSES - 1}")
    require(all(len(set(row)) == len(row) for row in top.tolist()), "top names a class twice for one clip")
    extra = {name: len(value) for name, value in _evaluate(subject, ctx).extra.items() if len(value) != TEST}
    require(not extra, f"extra predictions {extra} have not one row for each of {TEST} test clips")


def hidden_labels_stay_unread(subject: Subject) -> None:
    """Evaluating works without test labels; encoders and clips are asked for only with ``needs = "encoder"``."""
    ctx, _ = _situation()
    if subject.entry.load().needs == "features":
        ctx = replace(ctx, encoders={}, train_clips=None, test_clips=None)
    _evaluate(subject, replace(ctx, test=_Guarded.of(ctx.test)))


def choices_come_from_training(subject: Subject) -> None:
    """Other test clips change nothing that it says it chose."""
    ctx, _ = _situation()
    other = FeatureSet({name: 3 * value.flip(0) for name, value in ctx.test.streams.items()}, ctx.test.names,
                       ctx.test.subjects)
    one, two = (dict(_evaluate(subject, c).chosen) for c in (ctx, replace(ctx, test=other)))
    require(one == two, f"with other test clips it chose {two} instead of {one}")


def clips_are_predicted_alone(subject: Subject) -> None:
    """One test clip alone is predicted as among many, so that no statistic of the test part enters."""
    if subject.entry.load().needs != "features":
        raise Skipped("it works on encoders")
    ctx, _ = _situation()
    test = ctx.test
    alone = FeatureSet({k: v[5:6] for k, v in test.streams.items()}, test.names[5:6], test.subjects[5:6])
    one, many = _evaluate(subject, replace(ctx, test=alone)).top[0, :1], _evaluate(subject, ctx).top[5, :1]
    require(bool(torch.equal(one, many)), "a test clip is predicted otherwise alone than among others")


def the_seed_decides(subject: Subject) -> None:
    """The same seed gives the same predictions, and the global random state is left alone."""
    ctx, _ = _situation()
    with untouched_rng("evaluate()"):
        one = _evaluate(subject, ctx).top
    require(bool(torch.equal(one, _evaluate(subject, ctx).top)), "two evaluations with the same seed differ")


def scores_are_metrics(subject: Subject) -> None:
    """`score` gives finite numbers, among them ``top1`` and the primary metric, which are fractions."""
    ctx, labels = _situation()
    evaluator = _build(subject)
    metrics = evaluator.score(evaluator.evaluate(ctx), labels, CLASSES)
    require({"top1", evaluator.primary} <= set(metrics), f"score gives {sorted(metrics)}, without "
            f"'top1' or its primary {evaluator.primary!r}")
    bad = {name: value for name, value in metrics.items() if not isinstance(value, float) or not math.isfinite(value)}
    require(not bad, f"not finite numbers: {bad}")
    beyond = {name: metrics[name] for name in ("top1", evaluator.primary) if not 0 <= metrics[name] <= 1}
    require(not beyond, f"not fractions in [0, 1], of which the higher is the better: {beyond}; boards multiply them "
            "by 100 and rank by them")


CHECKS = (evaluator_is_one, predictions_are_classes, hidden_labels_stay_unread, choices_come_from_training,
          clips_are_predicted_alone, the_seed_decides, scores_are_metrics)


def _build(subject: Subject) -> Evaluator:
    cls = subject.entry.load()
    made: Evaluator = cls(validate(cls.Config, dict(subject.entry.config), f"evaluator {subject.entry.name}"))
    return made


def _evaluate(subject: Subject, ctx: EvalContext) -> EvalResult:
    return _build(subject).evaluate(ctx)


def _clips(count: int, layout: Layout, what: str) -> tuple[_Source, Tensor]:
    """Motion in which another joint swings in each class, with noise on all; and the labels."""
    gen = generator(SEED, "contract", what)
    labels = torch.arange(count) % CLASSES
    rest = torch.randn(1, 1, 1, layout.num_joints, 3, generator=generator(SEED, "contract", "rest"))
    xyz = rest + 0.1 * torch.randn(count, 1, FRAMES, layout.num_joints, 3, generator=gen)
    swing = torch.sin(torch.linspace(0, 6, FRAMES)) * (0.5 + torch.rand(count, 1, generator=gen))
    xyz[torch.arange(count), 0, :, 3 * labels, 1] += swing
    return _Source(xyz, torch.ones(xyz.shape[:-1], dtype=torch.bool), layout), labels


@lru_cache(maxsize=1)
def _situation() -> tuple[EvalContext, Tensor]:
    """An evaluation of a small untrained encoder, one of four training subjects held out; and the test labels."""
    layout = get_layout("nite_15", 1)
    (train, labels), (test, wanted) = _clips(TRAIN, layout, "train"), _clips(TEST, layout, "test")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        encoder = PointMLP(PointMLPConfig(**PointMLP.tiny), layout).eval()
    encoders: dict[str, Backbone] = {"encoder": encoder}
    subjects = torch.arange(TRAIN) // CLASSES % SUBJECTS

    def part(source: _Source, who: Tensor, known: Tensor | None, prefix: str) -> FeatureSet:
        features = {name: value.clone() for name, value in encode(encoders, source).items()}
        return FeatureSet(features, [f"{prefix}{i:03d}" for i in range(len(source))], who, known)

    return EvalContext(
        train=part(train, subjects, labels, "train"), val=subjects == SUBJECTS - 1, num_classes=CLASSES,
        test=part(test, torch.full((TEST,), SUBJECTS), None, "test"), encoders=encoders, train_clips=train,
        test_clips=test), wanted
