"""Matrix products in the precision that autocast asks for, by the fastest library that torch carries.

On CPUs torch sends float32 products to MKL, which runs at half the speed of oneDNN on processors that Intel
did not make. oneDNN is reached through the operator that torch's own compiler uses; where it does not exist,
and for every other type and device, the ordinary product is taken.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "has_onednn", "has_packed_products", "linear", "matmul", "product_dtype", "scores", "stack_size", "stacks",
    "transposed_product", "without_autocast",
]

P = ParamSpec("P")
R = TypeVar("R")


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the type that products of `x` take: autocast's lower one where it is on, else that of `x`."""
    kind = x.device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on and x.dtype == torch.float32 else x.dtype


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in the types of its arguments: kernels choose the type of each product themselves."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped


@functools.cache
def has_onednn() -> bool:
    """Whether float32 products of matrices can be sent to oneDNN."""
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@functools.cache
def _has_bf16() -> bool:
    """Whether oneDNN runs bfloat16 products on this processor."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return has_onednn() and asked is not None and bool(asked())


@functools.cache
def has_packed_products() -> bool:
    """Whether a weight can be packed once for many products of few rows (2 to 3 times as fast as packing each time)."""
    return has_onednn() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Return ``x weight^T + bias``, then ReLU if asked.

    Args:
        x: (n, c).
        weight: (o, c), of the type of `x`.
        bias: (o,) of the same type.
        relu: Whether to cut at zero (fused into the product where oneDNN runs it).

    Returns:
        (n, o) of the type of `x`.
    """
    # torch itself sends bfloat16 there, but without ReLU
    if x.device.type == "cpu" and ((x.dtype == torch.float32 and has_onednn())
                                   or (x.dtype == torch.bfloat16 and relu and _has_bf16())):
        post = "relu" if relu else "none"
        out: Tensor = torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(weight), bias, post, [], "")
        return out
    out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def _dense(x: Tensor) -> Tensor:
    """Copy a strided view: oneDNN takes matrices and their transposes, and is slow on anything else."""
    return x if x.is_contiguous() or x.t().is_contiguous() else x.contiguous()


def _one_by_one(x: Tensor) -> bool:
    """Say whether products of single matrices are the fastest: oneDNN's, on a CPU."""
    return x.is_cpu and x.dtype in (torch.float32, torch.bfloat16)


def _stacked(parts: list[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else torch.stack(parts)


def matmul(x: Tensor, y: Tensor, relu: bool = False) -> Tensor:
    """Return ``x @ y`` for stacks of matrices, then ReLU if asked.

    Args:
        x: (s or 1, a, k).
        y: (s or 1, k, b), of the type of `x`.
        relu: Whether to cut at zero.

    Returns:
        (s, a, b) of the type of `x`.
    """
    if _one_by_one(x):
        stack = range(max(len(x), len(y)))
        return _stacked([linear(x[i % len(x)], y[i % len(y)].t(), relu=relu) for i in stack])
    out = torch.matmul(x, y)
    return out.relu_() if relu else out


def scores(queries: Tensor, points: Tensor, offset: Tensor) -> Tensor:
    """Return ``queries points^T + offset`` for stacks of clouds.

    Args:
        queries: (s or 1, n, c).
        points: (s, N, c), of the type of `queries`.
        offset: (s, N), the same for each query; may be infinite.

    Returns:
        (s, n, N).
    """
    if _one_by_one(queries):
        stack = range(len(points))
        return _stacked([linear(queries[i % len(queries)], points[i], offset[i]) for i in stack])
    return torch.baddbmm(offset[:, None], queries.expand(len(points), -1, -1), points.transpose(1, 2))


def transposed_product(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x^T y`` (a gradient of a weight): (n, a) and (n, b) to (a, b), of the type of `x`.

    oneDNN wants its first operand turned in memory, so that the narrower one is first.
    """
    return linear(x.t(), y.t()) if x.shape[1] <= y.shape[1] else linear(y.t(), x.t()).t()


def stack_size(device: torch.device, elements: int) -> int:
    """Return how many clouds to work on at once, where each needs `elements` numbers of scratch.

    One on a CPU, so that they stay in cache; as many on other devices as fill them without filling their memory.
    """
    return 1 if device.type == "cpu" else max(1, (1 << 26) // max(1, elements))


def stacks(clouds: int, device: torch.device, elements: int) -> Iterator[slice]:
    """Cut a batch of clouds into the stacks of `stack_size`."""
    step = stack_size(device, elements)
    return (slice(first, first + step) for first in range(0, clouds, step))
