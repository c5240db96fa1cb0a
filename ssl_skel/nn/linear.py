"""Linear layers whose float32 products on a CPU run through oneDNN, in the backward pass too.

Autograd sends the three products of `nn.Linear` to MKL, which takes twice as long on processors that Intel did not
make: 60 % of a masked-transformer step.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_skel.nn.products import has_onednn, linear, product_dtype, transposed_product, without_autocast

__all__ = ["Linear", "by_fast_products"]

M = TypeVar("M", bound=nn.Module)


class Linear(nn.Linear):
    """`nn.Linear`, the same but for rounding; as it is on other devices and in other types."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        fast = x.is_cpu and x.dtype == self.weight.dtype == product_dtype(x) == torch.float32 and has_onednn()
        if not fast or not x.numel():
            return super().forward(x)
        out: Tensor = _Products.apply(x.reshape(-1, self.in_features), self.weight, self.bias)
        return out.view(*x.shape[:-1], self.out_features)


def by_fast_products(module: M) -> M:
    """Let the linear layers of a module that a library built take their products as `Linear` does; names stay."""
    for child in module.modules():
        if type(child) is nn.Linear:
            child.__class__ = Linear
    return module


class _Products(torch.autograd.Function):
    """x W^T + b of rows, and its two products backwards."""

    @staticmethod
    @without_autocast
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (linear(grad, weight.t()) if wanted[0] else None, transposed_product(grad, x) if wanted[1] else None,
                grad.sum(0) if ctx.biased and wanted[2] else None)
