"""Classification metrics and the interval of an accuracy, from stored predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssl_skel.errors import SkelError

TOP_K = 5


def top_k(scores: Tensor, k: int = TOP_K) -> Tensor:
    """Rank the classes of each clip by falling score; equal scores by rising class, on any device.

    Args:
        scores: (n, C).
        k: Most classes to keep.

    Returns:
        (n, min(k, C)) int64 on the CPU.
    """
    return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :k].cpu()


def classification_metrics(top: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Compare ranked predictions with labels.

    Args:
        top: (n, K) int64 classes by falling score.
        labels: (n,) int64.
        num_classes: C; top-5 is left out where it can't be wrong (C <= 5).

    Returns:
        ``top1``, ``top5`` and ``mean_class`` (mean over present classes of the class accuracy), fractions.

    Raises:
        SkelError: If there is nothing to compare or the lengths differ.
    """
    if len(labels) == 0 or len(top) != len(labels):
        raise SkelError(f"{len(top)} predictions against {len(labels)} labels", "Check the test part.")
    hits = top.cpu() == labels.cpu()[:, None]
    first = hits[:, 0].double()
    metrics = {"top1": float(first.mean())}
    if num_classes > TOP_K:
        metrics["top5"] = float(hits[:, :TOP_K].any(dim=1).double().mean())
    present = torch.bincount(labels.cpu(), minlength=num_classes)
    right = torch.bincount(labels.cpu(), weights=first, minlength=num_classes)
    metrics["mean_class"] = float((right[present > 0] / present[present > 0]).mean())
    return metrics


def bootstrap_ci(correct: Tensor, seed: int, draws: int = 2000, alpha: float = 0.05) -> tuple[float, float]:
    """Percentile bootstrap interval, over clips, of an accuracy.

    Drawing n of n clips with replacement and counting the right ones is a draw from Binomial(n, accuracy), so
    no clip is ever indexed. `ssl_skel.bench.stats` has the bootstrap over subjects and of differences.

    Args:
        correct: (n,) bool.
        seed: Of the draws.
        draws: Number of resamples.
        alpha: One minus the level.

    Returns:
        Lower and upper bound, fractions.
    """
    n = len(correct)
    if n == 0:
        raise SkelError("no predictions to resample", "Check the test part of the split.")
    share = float(correct.double().mean())
    means = np.random.default_rng(seed).binomial(n, share, size=draws) / n
    low, high = np.quantile(means, (alpha / 2, 1 - alpha / 2))
    return float(low), float(high)
