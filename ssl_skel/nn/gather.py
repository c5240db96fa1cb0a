"""Sums and concatenations over processes that gradients flow through; the identity in one process.

The backward pass sums over processes. With the averaging of gradients that data parallelism does, a loss on
gathered tensors, computed alike in every process, then has exactly the gradient of one process that holds the
whole batch, and so has the mean over processes of losses on local rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "Gather", "all_gather", "all_reduce_sum", "gathered", "is_first", "of_first", "rank", "world_size",
]

Gather = Callable[[Tensor], Tensor]


def world_size() -> int:
    """Number of processes of the default group; 1 where there is none."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return rank() == 0


def of_first(answer: bool) -> bool:
    """What the first process answers, in all of them."""
    if world_size() == 1:
        return answer
    told = torch.tensor(int(answer))
    dist.broadcast(told, 0)
    return bool(told)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        grad: Tensor = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad.narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        grad: Tensor = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad


def all_gather(x: Tensor) -> Tensor:
    """Concatenate the rows of all processes, in rank order.

    Args:
        x: (n, ...) local rows; n is the same everywhere.

    Returns:
        (W * n, ...); `x` itself in one process.
    """
    if world_size() == 1:
        return x
    out: Tensor = _AllGather.apply(x)
    return out


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum a tensor over all processes; `x` itself in one process."""
    if world_size() == 1:
        return x
    out: Tensor = _AllReduceSum.apply(x)
    return out


def gathered(x: Tensor, gather: Gather | None) -> Tensor:
    """Apply `gather` where there is one."""
    return x if gather is None else gather(x)
