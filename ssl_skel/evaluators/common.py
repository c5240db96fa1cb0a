"""What feature evaluators share: checks, held-out subjects, standardisation, fusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, Evaluator, FeatureSet
from ssl_skel.errors import BadData, SkelError


@dataclass(frozen=True, slots=True)
class Problem:
    """One stream (or one concatenation) of an evaluation, on the device.

    Attributes:
        name: Stream name, ``+`` between concatenated ones.
        train: (n_train, D) float32.
        labels: (n_train,) int64.
        val: (n_train,) bool, held-out training subjects.
        test: (n_test, D) float32.
        num_classes: C.
    """

    name: str
    train: Tensor
    labels: Tensor
    val: Tensor
    test: Tensor
    num_classes: int


def train_labels(ctx: EvalContext, every_class: bool = True) -> Tensor:
    """Return the (n_train,) int64 training labels after checking them.

    Args:
        ctx: The evaluation.
        every_class: Refuse a training part in which a class is absent.

    Raises:
        BadData: If labels are missing, outside [0, C), or a class has no training clip.
    """
    labels = ctx.train.labels
    if labels is None or len(labels) == 0:
        raise BadData("the training part has no labels", "Check the split.")
    if int(labels.min()) < 0 or int(labels.max()) >= ctx.num_classes:
        raise BadData(f"a training label lies outside 0..{ctx.num_classes - 1}", "Check the class list.")
    absent = (torch.bincount(labels, minlength=ctx.num_classes) == 0).nonzero().flatten().tolist()
    if every_class and absent:
        raise BadData(f"the training part has no clip of class {absent[0]} ({len(absent)} of "
                      f"{ctx.num_classes} classes are absent)", "Choose a split that trains on every class.")
    return labels


def check_split(ctx: EvalContext) -> None:
    """Refuse a split without a training clip of each class, or with a single test clip.

    Raises:
        BadData: With the reason.
    """
    train_labels(ctx)
    check_test(ctx)


def check_test(ctx: EvalContext) -> None:
    """Refuse a single test clip: right or wrong, it would stand on a board as 100 or 0 %.

    Raises:
        BadData: If there is none, or one.
    """
    if len(ctx.test) < 2:
        raise BadData(f"the test part has {len(ctx.test)} clip(s), from which no accuracy can be told",
                      "Choose a split with more test clips.")


def held_out(ctx: EvalContext) -> Tensor:
    """Return the (n_train,) bool mask of held-out training subjects, on which all choosing is done.

    Raises:
        SkelError: If no subject is held out, or none is left to fit on.
    """
    held = int(ctx.val.sum())
    if held in (0, len(ctx.val)):
        subjects = len(torch.unique(ctx.train.subjects))
        raise SkelError(f"nothing can be chosen: {held} of {len(ctx.val)} training clips are of held-out "
                        f"subjects ({subjects} subject(s) in the training part)",
                        "Choose a split with two or more training subjects.")
    return ctx.val


class ChoosingEvaluator(Evaluator):
    """A protocol that chooses on held-out training subjects, and can't be run where there are none."""

    @classmethod
    def check(cls, cfg: Any, ctx: EvalContext) -> None:
        """Refuse a split without held-out subjects, beside what every protocol refuses."""
        super().check(cfg, ctx)
        held_out(ctx)


def stream(part: FeatureSet, name: str) -> Tensor:
    """Return the (n, D) features of one stream after checking them.

    Raises:
        BadData: If there is no clip, or a feature is NaN or infinite.
    """
    features = part.streams[name]
    if len(features) == 0:
        raise BadData(f"stream {name!r} has no clip", "Check the split.")
    if not bool(torch.isfinite(features).all()):
        rows = (~torch.isfinite(features).all(dim=1)).nonzero().flatten()
        raise BadData(f"stream {name!r} has NaN or infinite features for {len(rows)} clip(s), first "
                      f"{part.names[int(rows[0])]!r}", "The encoder diverged; pretrain it again.")
    return features


def varied(part: FeatureSet, name: str) -> Tensor:
    """Return the (n, D) features of one stream of a training part after checking that they tell clips apart.

    Raises:
        BadData: As `stream` does, or if no dimension varies.
    """
    features = stream(part, name)
    if len(features) > 1 and bool(moments(features)[1].isinf().all()):
        raise BadData(f"stream {name!r} has the same features for all {len(features)} training clips",
                      "Its encoder collapsed; nothing can be told from it.")
    return features


def stream_names(ctx: EvalContext) -> list[str]:
    """Return the streams that this evaluation uses, in a fixed order.

    Raises:
        SkelError: If there is none, or fusion is ``single`` and there are several.
    """
    names = sorted(ctx.train.streams)
    if not names or (ctx.fusion == "single" and len(names) != 1):
        raise SkelError(f"fusion {ctx.fusion!r} can't use the streams {names}", "Name one or fuse them.")
    return names


def pair_weights(ctx: EvalContext) -> list[float]:
    """Weight of each pair of `unit_streams` where their scores are added up."""
    names = stream_names(ctx)
    return [ctx.weights.get(name, 1.0) for name in names] if ctx.fusion != "concat" else [1.0]


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale of each dimension; an infinite scale drops a dimension without variance.

    A dimension has none where its standard deviation is rounding error of its mean (features are float32).

    Args:
        features: (n, D).

    Returns:
        (D,) and (D,) float64.
    """
    features = features.double()
    mean, std = features.mean(dim=0), features.std(dim=0, correction=0)
    constant = std <= 1e-6 * mean.abs() + 1e-12
    return mean, torch.where(constant, torch.inf, std)


def standardise(features: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return (n, D) float64 features of zero mean and unit variance on the part that gave the moments."""
    return (features.double() - mean) / scale


def problems(ctx: EvalContext) -> list[Problem]:
    """Lay out what has to be fitted: one problem, or one a stream where scores are fused.

    Concatenation needs no scaling here: whoever fits standardises each dimension by itself.
    """
    names, labels = stream_names(ctx), train_labels(ctx).to(ctx.device)
    groups = [[name] for name in names] if ctx.fusion == "scores" else [names]

    def gather(part: FeatureSet, group: list[str], read: Callable[[FeatureSet, str], Tensor]) -> Tensor:
        return torch.cat([read(part, name) for name in group], dim=1).to(ctx.device)

    return [Problem("+".join(group), gather(ctx.train, group, varied), labels, ctx.val.to(ctx.device),
                    gather(ctx.test, group, stream), ctx.num_classes) for group in groups]


def fuse(ctx: EvalContext,
         solve: Callable[[Problem], tuple[Tensor, Mapping[str, float]]]) -> tuple[Tensor, dict[str, object]]:
    """Solve every problem and add up the softmax scores, by the weights of their streams.

    Args:
        ctx: The evaluation.
        solve: Problem -> (n_test, C) logits and what was chosen on held-out subjects.

    Returns:
        (n_test, C) scores and the choices (by stream where there are several problems).
    """
    solved = {problem.name: solve(problem) for problem in problems(ctx)}
    scores = sum((ctx.weights.get(name, 1.0) * torch.softmax(logits, dim=1) for name, (logits, _) in solved.items()),
                 torch.zeros(()))
    assert isinstance(scores, Tensor)
    if len(solved) == 1:
        return scores, dict(next(iter(solved.values()))[1])
    return scores, {name: dict(chosen) for name, (_, chosen) in solved.items()}


def unit_streams(ctx: EvalContext) -> list[tuple[Tensor, Tensor]]:
    """Return the L2-normalised (n_train, D) and (n_test, D) features to compare, on the device.

    One pair; one a stream where scores are fused. Streams are normalised by themselves and, joined, once more.

    Raises:
        BadData: If a feature vector is zero, or all training clips have the same.
    """
    def unit(part: FeatureSet, name: str) -> Tensor:
        features = stream(part, name).to(ctx.device)
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        if bool((length == 0).any()):
            raise BadData(f"stream {name!r} has a feature vector of zero length", "Its encoder collapsed.")
        if part is ctx.train:
            varied(part, name)
        return torch.div(features, length)

    names = stream_names(ctx)
    pairs = [(unit(ctx.train, name), unit(ctx.test, name)) for name in names]
    if ctx.fusion == "scores" or len(pairs) == 1:
        return pairs
    scale = len(pairs) ** -0.5
    return [(torch.cat([train for train, _ in pairs], dim=1) * scale,
             torch.cat([test for _, test in pairs], dim=1) * scale)]
