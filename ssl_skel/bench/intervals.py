"""Bootstrap intervals of every metric that an evaluator reports, over clips and over subjects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ssl_skel.api import EvalResult, Evaluator
from ssl_skel.seed import derive

DRAWS = 1000
FEWEST = 200
BUDGET = 1 << 30
"""Numbers of predictions that all draws together may gather, if that leaves `FEWEST`."""

Intervals = dict[str, tuple[float, float]]


def over_clips(evaluator: Evaluator, result: EvalResult, labels: Tensor, num_classes: int, seed: int) -> Intervals:
    """Percentile intervals (95 %) of all metrics, clips drawn with replacement and scored again.

    Args:
        evaluator: Scores; whatever it reports gets an interval.
        result: Its predictions.
        labels: (n,) int64.
        num_classes: C.
        seed: Of the cell.

    Returns:
        Metric -> bounds.
    """
    n = len(labels)
    rng = np.random.default_rng(derive(seed, "intervals", "clips"))
    return _percentiles(evaluator, result, labels, num_classes, lambda: rng.integers(n, size=n))


def over_subjects(evaluator: Evaluator, result: EvalResult, labels: Tensor, num_classes: int, subjects: Tensor,
                  seed: int) -> Intervals:
    """Percentile intervals (95 %) of all metrics, whole subjects drawn with replacement: a subject's clips are alike.

    Args:
        evaluator: As for `over_clips`.
        result: As for `over_clips`.
        labels: (n,) int64.
        num_classes: C.
        subjects: (n,) performer ids.
        seed: Of the cell.

    Returns:
        Metric -> bounds; nothing where there is one subject.
    """
    _, who = np.unique(subjects.numpy(), return_inverse=True)
    clips = [np.flatnonzero(who == one) for one in range(who.max() + 1)]
    if len(clips) < 2:
        return {}
    rng = np.random.default_rng(derive(seed, "intervals", "subjects"))
    return _percentiles(evaluator, result, labels, num_classes,
                        lambda: np.concatenate([clips[i] for i in rng.integers(len(clips), size=len(clips))]))


def _percentiles(evaluator: Evaluator, result: EvalResult, labels: Tensor, num_classes: int,
                 draw: Callable[[], np.ndarray]) -> Intervals:
    size = result.top.numel() + sum(value.numel() for value in result.extra.values())
    drawn: dict[str, list[float]] = {}
    for _ in range(max(FEWEST, min(DRAWS, BUDGET // max(size, 1)))):
        index = torch.from_numpy(draw())
        again = EvalResult(result.top[index], result.chosen, {k: value[index] for k, value in result.extra.items()})
        for name, value in evaluator.score(again, labels[index], num_classes).items():
            drawn.setdefault(name, []).append(value)
    found = {name: np.quantile(values, (0.025, 0.975)) for name, values in sorted(drawn.items())
             if np.isfinite(values).all()}
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}
