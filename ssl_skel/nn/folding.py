"""FoldingNet decoder (arXiv 1712.07262): two folds of a square grid, steered by one code a cloud.

The code is the same for every grid point, so its part of each fold's first product is computed once a cloud;
a few clouds at a time keep the hidden activations in cache.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_skel.api import TaskConfig
from ssl_skel.nn.products import linear, product_dtype, transposed_product, without_autocast

__all__ = ["FoldingNet", "square_grid"]


class FoldingConfig(TaskConfig):
    """Sizes of the decoder; the grid and its extent are those of the reference code (method.md, section 9).

    Attributes:
        hidden: Width of the hidden layers.
        grid: Points along one side; the decoder gives grid^2 points.
        extent: The grid spans [-extent, extent] in both directions.
        channels: Of an output point: 3 positions and 3 colours.
        middle: Channels that the first fold hands to the second.
    """

    hidden: int = Field(512, ge=1)
    grid: int = Field(45, ge=2)
    extent: float = Field(0.3, gt=0)
    channels: int = Field(6, ge=1)
    middle: int = Field(6, ge=1)


def square_grid(side: int, extent: float) -> Tensor:
    """Return (side^2, 2) points of a square grid that spans [-extent, extent]."""
    line = torch.linspace(-extent, extent, side)
    return torch.cartesian_prod(line, line)


class Fold(nn.Module):
    """Three linear layers with ReLU between them on [code ; point], applied to every point.

    Attributes:
        first: On the concatenation of code and point, in this order.
        second: Hidden layer.
        third: To the fold's output.
    """

    def __init__(self, code: int, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.first = nn.Linear(code + channels, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.third = nn.Linear(hidden, out)

    def forward(self, code: Tensor, points: Tensor) -> Tensor:
        """Fold (1 or B, N, c) points by (B, code) codes to (B, N, out)."""
        weight = self.first.weight
        on_code, on_point = weight[:, :code.shape[1]], weight[:, code.shape[1]:]
        steer = nn.functional.linear(code, on_code, self.first.bias)
        return _Fold.apply(  # type: ignore[no-any-return]
            steer, points, on_point, self.second.weight, self.second.bias, self.third.weight, self.third.bias,
            product_dtype(code),
        )


class FoldingNet(nn.Module):
    """Decode a code into a cloud of `grid`^2 points of position and colour.

    Attributes:
        grid: (grid^2, 2) buffer of grid points.
        folds: The two folds.
    """

    Config = FoldingConfig

    def __init__(self, code: int, cfg: FoldingConfig | None = None) -> None:
        super().__init__()
        cfg = cfg or FoldingConfig()
        self.register_buffer("grid", square_grid(cfg.grid, cfg.extent), persistent=False)
        self.fold1 = Fold(code, 2, cfg.hidden, cfg.middle)
        self.fold2 = Fold(code, cfg.middle, cfg.hidden, cfg.channels)

    def forward(self, code: Tensor) -> Tensor:
        """Decode (B, code) to (B, grid^2, channels)."""
        grid = self.get_buffer("grid").to(code.dtype)
        return self.fold2(code, self.fold1(code, grid[None]))  # type: ignore[no-any-return]


class _Fold(torch.autograd.Function):
    """relu(steer + U p), relu(V . + v), Y . + y for every point p, cloud by cloud.

    Only the second hidden layer is kept for the backward pass; the first costs less to compute than to keep.
    """

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, steer: Tensor, points: Tensor, on_point: Tensor, w2: Tensor, b2: Tensor, w3: Tensor,
        b3: Tensor, dtype: torch.dtype,
    ) -> Tensor:
        clouds, count = len(steer), points.shape[1]
        steer32 = steer.to(points.dtype)
        hidden = torch.empty((clouds, count, len(w2)), dtype=dtype, device=points.device)
        out = torch.empty((clouds, count, len(w3)), dtype=points.dtype, device=points.device)
        w2c, b2c, w3c, b3c = (p.to(dtype) for p in (w2, b2, w3, b3))
        for cloud in range(clouds):
            first = _first_layer(steer32[cloud], points[cloud % len(points)], on_point, dtype)
            hidden[cloud] = linear(first, w2c, b2c, relu=True)
            out[cloud] = linear(hidden[cloud], w3c, b3c)
        ctx.save_for_backward(steer32, points, on_point, w2, w3, hidden)
        ctx.steer_dtype = steer.dtype
        return out

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        steer, points, on_point, w2, w3, hidden = ctx.saved_tensors
        dtype = hidden.dtype
        w2c, w3c = w2.to(dtype), w3.to(dtype)
        grad_w2, grad_w3 = torch.zeros_like(w2), torch.zeros_like(w3)
        grad_b2, grad_point = torch.zeros_like(w2[0]), torch.zeros_like(on_point)
        grad_steer = torch.empty_like(steer)
        grad_points = torch.zeros_like(points) if ctx.needs_input_grad[1] else None
        for cloud in range(len(steer)):
            point = points[cloud % len(points)]
            first = _first_layer(steer[cloud], point, on_point, dtype)
            part = grad[cloud].to(dtype)
            grad_w3 += transposed_product(part, hidden[cloud])
            inner = torch.ops.aten.threshold_backward(linear(part, w3c.t()), hidden[cloud], 0)
            grad_w2 += transposed_product(inner, first)
            grad_b2 += inner.sum(0, dtype=grad.dtype)
            outer = torch.ops.aten.threshold_backward(linear(inner, w2c.t()), first, 0).to(grad.dtype)
            grad_steer[cloud] = outer.sum(0)
            grad_point += outer.t() @ point
            if grad_points is not None:
                grad_points[cloud % len(points)] += outer @ on_point
        return (grad_steer.to(ctx.steer_dtype), grad_points, grad_point, grad_w2, grad_b2, grad_w3,
                grad.sum((0, 1)), None)


def _first_layer(steer: Tensor, points: Tensor, on_point: Tensor, dtype: torch.dtype) -> Tensor:
    """Return relu(steer + U p) for (N, c) points: (N, hidden) of type `dtype`."""
    return linear(points, on_point, steer, relu=True).to(dtype)
