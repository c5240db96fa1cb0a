"""Evaluators that cheat."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator, TaskConfig


def by_position(count: int, classes: int) -> Tensor:
    """Classes as the order of a store tells them that is sorted by class."""
    return torch.arange(count) * classes // count


class ByPosition(Evaluator):
    """Predicts what the order of the clips tells."""

    name, primary, Config = "by-position", "top1", TaskConfig

    def __init__(self, cfg: TaskConfig) -> None:
        del cfg

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        return EvalResult(top=by_position(len(ctx.test), ctx.num_classes)[:, None])


class Rewriter(ByPosition):
    """Puts the labels into its predictions when it is given them to score."""

    name = "rewriter"

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> Mapping[str, float]:
        result.top[:, 0] = labels
        labels.fill_(0)
        return super().score(result, labels, num_classes)
