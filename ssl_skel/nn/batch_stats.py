"""What the fused layers share with `nn.BatchNorm1d`: its parameters, and how running statistics move."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SLOPE", "leaky", "update_running", "uses_batch"]

SLOPE = 0.2
"""Slope of LeakyReLU below zero in DGCNN."""


def leaky(x: Tensor) -> Tensor:
    """Apply LeakyReLU(0.2) in place: for a slope in (0, 1) it is the larger of x and slope x."""
    return torch.nn.functional.leaky_relu_(x, SLOPE)


def uses_batch(norm: nn.BatchNorm1d) -> bool:
    """Say whether the layer normalises by the batch at hand rather than by its running statistics."""
    return norm.training or norm.running_mean is None


@torch.no_grad()
def update_running(norm: nn.BatchNorm1d, mean: Tensor, var: Tensor, count: Tensor) -> None:
    """Move the running statistics as `nn.BatchNorm1d` does; a batch without an element leaves them alone.

    Args:
        norm: Holds the buffers; nothing happens in evaluation mode.
        mean: (C,) mean of the batch.
        var: (C,) its biased variance; the running one takes the factor n / (n - 1), or 1 where n = 1.
        count: () n, the number of elements a channel.
    """
    if not norm.training or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    present = count > 0
    norm.num_batches_tracked.add_(present)
    momentum = 1 / norm.num_batches_tracked.clamp(min=1) if norm.momentum is None else norm.momentum
    step = present * momentum
    norm.running_mean.add_(step * (mean - norm.running_mean))
    norm.running_var.add_(step * (var * (count / (count - 1).clamp(min=1)) - norm.running_var))
