"""FoldingNet decoder (arXiv 1712.07262): two folds of a square grid, steered by one code a cloud.

The code is the same for every grid point, so its part of each fold's first product is computed once a cloud;
a few clouds at a time keep the hidden activations in cache.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_skel.api import TaskConfig
from ssl_skel.nn.products import matmul, product_dtype, stacks, without_autocast

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
        """Fold (1 or B, c, N) points by (B, code) codes to (B, out, N): channels first."""
        weight = self.first.weight
        on_code, on_point = weight[:, :code.shape[1]], weight[:, code.shape[1]:]
        steer = F.linear(code, on_code, self.first.bias)
        return _Fold.apply(  # type: ignore[no-any-return]
            steer.to(points.dtype), points, on_point, self.second.weight, self.second.bias, self.third.weight,
            self.third.bias, product_dtype(code),
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
        code = code.to(self.fold1.third.weight.dtype)
        grid = self.get_buffer("grid").to(code.dtype)
        points: Tensor = self.fold2(code, self.fold1(code, grid.t()[None]))
        return points.transpose(1, 2)


class _Fold(torch.autograd.Function):
    """W3 relu(W2 relu(steer + W1 p) + b2) + b3 for every point p, a few clouds at a time.

    Activations stand channels first: then every product and its gradients read their operands as they lie,
    and a row of ones, carried through the first layer, makes the products give the gradients of the biases,
    too. Only the second hidden layer is kept for the backward pass; the first costs less to compute again
    than to keep.
    """

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, steer: Tensor, points: Tensor, w1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        clouds, count = len(steer), points.shape[2]
        first = _with_ones_out(w1, steer, dtype)
        second = F.pad(torch.cat([w2, b2[:, None]], 1), (0, ONES - 1)).to(dtype)
        inputs = _with_ones_in(points, dtype)
        hidden: list[Tensor] = []  # one a stack, as the products leave them: copies into one tensor take 5 % of a step
        out = points.new_empty((clouds, len(w3), count))
        for part in stacks(clouds, points.device, len(w2) * count):
            entry = matmul(first[part], inputs if len(inputs) == 1 else inputs[part], relu=True)
            hidden.append(matmul(second[None], entry, relu=True))
            out[part] = matmul(w3[None].to(dtype), hidden[-1])
        out += b3[:, None]
        ctx.save_for_backward(first, inputs, w2, w3, *hidden)
        return out

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, inputs, w2, w3, *hidden = ctx.saved_tensors
        dtype, width, need_points = first.dtype, len(w2), ctx.needs_input_grad[1]
        grad_first = grad.new_zeros((len(grad), width, inputs.shape[1]))
        grad_w2, grad_w3 = grad.new_zeros((width, width + ONES)), torch.zeros_like(w3)
        grad_points = grad.new_zeros((len(grad), inputs.shape[1] - 1, grad.shape[2])) if need_points else None
        back2, back3 = (w.t().contiguous()[None].to(dtype) for w in (w2, w3))
        for part, kept in zip(stacks(len(grad), grad.device, width * grad.shape[2]), hidden, strict=True):
            columns = _touched(grad[part])
            if columns is not None and not len(columns):
                continue
            outer, active = _take(grad[part].to(dtype), columns), _take(kept, columns)
            entry_in = _take(inputs if len(inputs) == 1 else inputs[part], columns)
            entry = matmul(first[part], entry_in, relu=True)
            _add_stack(grad_w3, matmul(outer, active.transpose(1, 2)))
            inner = _cut(matmul(back3, outer), active)
            _add_stack(grad_w2, matmul(inner, entry.transpose(1, 2)))
            inner = _cut(matmul(back2, inner), entry[:, :width])
            grad_first[part] = matmul(inner, entry_in.transpose(1, 2))
            if grad_points is not None:
                weight = first[part, :width, :-1].transpose(1, 2).contiguous()
                _put(grad_points[part], columns, matmul(weight, inner))
        return (grad_first[..., -1], grad_points, grad_first[..., :-1].sum(0), grad_w2[:, :width],
                grad_w2[:, width], grad_w3, grad.sum((0, 2)), None)


ONES = 8
"""Rows added to the first layer: one of ones, the rest zero to keep widths a multiple of 8."""


def _with_ones_out(weight: Tensor, steer: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B, h + 8, c + 1) matrices that take [p ; 1] to [steer + W1 p ; 1 ; 0]: (h, c), (B, h)."""
    table = torch.cat([weight.expand(len(steer), -1, -1), steer[..., None]], 2)
    table = F.pad(table, (0, 0, 0, ONES))
    table[:, len(weight), -1] = 1
    return table.to(dtype)


def _with_ones_in(points: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B, c + 1, N) points with a row of ones below."""
    return F.pad(points, (0, 0, 0, 1), value=1.0).to(dtype)


def _touched(grad: Tensor) -> Tensor | None:
    """Return the columns of one cloud that have a gradient at all, or None to take all.

    The Chamfer distance in its ``max`` form often reaches only the points that are some target's nearest.
    Looking costs nothing on a CPU; elsewhere it would wait for the device.
    """
    if not grad.is_cpu or len(grad) > 1:
        return None
    columns = (grad[0] != 0).any(0).nonzero()[:, 0]
    return columns if len(columns) < 0.9 * grad.shape[2] else None


def _take(values: Tensor, columns: Tensor | None) -> Tensor:
    return values if columns is None else values.index_select(2, columns)


def _put(target: Tensor, columns: Tensor | None, values: Tensor) -> None:
    if columns is None:
        target.copy_(values)
    else:
        target.index_copy_(2, columns, values.to(target.dtype))


def _add_stack(total: Tensor, stack: Tensor) -> None:
    """Add the sum of a stack of matrices; torch would copy a stack of one first."""
    total += stack[0] if len(stack) == 1 else stack.sum(0)


def _cut(grad: Tensor, activation: Tensor) -> Tensor:
    """Zero a gradient in place where ReLU's output is zero."""
    return torch.ops.aten.threshold_backward.grad_input(  # type: ignore[no-any-return]
        grad, activation, 0, grad_input=grad
    )
