"""What the fused layers share with `nn.BatchNorm1d`: its parameters, how running statistics move, and how those of
several processes are combined."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssl_skel.nn.gather import world_size

__all__ = [
    "SLOPE", "combine_gram", "combine_moments", "sum_over_processes", "update_running", "uses_batch", "zero_invalid",
]

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


def uses_batch(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    """Say whether the layer normalises by the batch at hand rather than by its running statistics."""
    return norm.training or norm.running_mean is None


@torch.no_grad()
def update_running(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, var: Tensor, count: Tensor) -> None:
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


def sum_over_processes(*values: Tensor) -> tuple[Tensor, ...]:
    """Sum tensors over all processes, outside of autograd; the tensors themselves in one process."""
    if world_size() == 1:
        return values
    totals = [value.contiguous().clone() for value in values]
    for total in totals:
        dist.all_reduce(total)
    return tuple(totals)


def combine_moments(count: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Combine counts, means and biased variances of all processes (Chan et al. 1979); the same in one process.

    Args:
        count: () or (C,) elements of this process.
        mean: (C,) of them.
        var: (C,) of them.

    Returns:
        The three of all processes.
    """
    if world_size() == 1:
        return count, mean, var
    total, weighted = sum_over_processes(count, count * mean)
    whole = weighted / total.clamp(min=1)
    (spread,) = sum_over_processes(count * (var + (mean - whole).square()))
    return total, whole, spread / total.clamp(min=1)


def combine_gram(count: Tensor, centre: Tensor, gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Combine counts, means and Gram matrices of centred rows of all processes; the same in one process.

    Args:
        count: () rows of this process.
        centre: (C,) their mean.
        gram: (C, C) sum of the outer products of the centred rows.

    Returns:
        The three of all processes.
    """
    if world_size() == 1:
        return count, centre, gram
    total, weighted = sum_over_processes(count, count * centre)
    whole = weighted / total.clamp(min=1)
    apart = centre - whole
    (joined,) = sum_over_processes(gram + count * torch.outer(apart, apart))
    return total, whole, joined
