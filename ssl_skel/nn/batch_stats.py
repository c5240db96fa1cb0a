"""What the fused layers share with `nn.BatchNorm1d`: its parameters, and how running statistics move."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SLOPE", "update_running", "uses_batch", "zero_invalid"]

SLOPE = 0.2
"""Slope of LeakyReLU below zero in DGCNN."""


def zero_invalid(x: Tensor, valid: Tensor) -> Tensor:
    """Return x with zeros at invalid points, whatever stands there; x itself where looking costs no wait.

    Args:
        x: (B, N, C).
        valid: (B, N) bool.
    """
    if valid.is_cpu and bool(valid.all()):
        return x
    return torch.where(valid[..., None], x, 0)


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
    step = present.to(mean.dtype)
    step = step / norm.num_batches_tracked.clamp(min=1) if norm.momentum is None else step * norm.momentum
    norm.running_mean.add_(step * (mean - norm.running_mean))
    norm.running_var.add_(step * (var * (count / (count - 1).clamp(min=1)) - norm.running_var))
