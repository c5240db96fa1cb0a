"""Linear + batch norm + LeakyReLU + maximum over points, without the N x out activations.

The mean over points of W x is W mean(x), its variance (w G w^T) / n with G the Gram matrix of the centred
input, so the statistics need no activations; those run cloud by cloud, and only their maxima are kept.
Statistics are those of the points of all processes that train together.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_skel.nn.batch_stats import (
    SLOPE,
    combine_gram,
    sum_over_processes,
    update_running,
    uses_batch,
    zero_invalid,
)
from ssl_skel.nn.gather import world_size
from ssl_skel.nn.products import linear, product_dtype, scores, stacks, transposed_product, without_autocast

__all__ = ["PointHead"]


class PointHead(nn.Module):
    """One vector a cloud: linear without bias, batch norm, LeakyReLU(0.2), maximum over valid points.

    Attributes:
        linear: (out, in) weight.
        norm: Scale, shift and running statistics, as in `nn.BatchNorm1d` over all valid points.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Pool clouds.

        Args:
            x: (B, N, in); what stands at an invalid point is not read.
            valid: (B, N) bool.

        Returns:
            (B, out); zero for a cloud without a valid point.
        """
        norm = self.norm
        fixed = (None, None) if uses_batch(norm) else (norm.running_mean, norm.running_var)
        x = zero_invalid(x.to(norm.weight.dtype), valid)
        out, mean, var, count = _PointHead.apply(
            x, valid, self.linear.weight, norm.weight, norm.bias, *fixed, norm.eps, product_dtype(x)
        )
        update_running(norm, mean, var, count)
        return out  # type: ignore[no-any-return]


class _PointHead(torch.autograd.Function):
    """The layer in closed form.

    As in `EdgeConv`, channels of negative scale are turned round, so that the maximum of z = W x is wanted.
    The gradient on z is sparse (one point a cloud and channel) plus c0 + c1 (z - mean) everywhere, which
    gives X (W^T diag(c1) W) for the input and diag(c1) W G for the weight: products in the input's width.
    """

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, x: Tensor, valid: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor,
        fixed_mean: Tensor | None, fixed_var: Tensor | None, eps: float, dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sign = torch.where(gamma < 0, -1.0, 1.0).to(gamma.dtype)
        scale = gamma * sign
        turned = weight * sign[:, None]
        count = valid.sum().to(x.dtype)
        centre = gram = None
        if fixed_mean is None or fixed_var is None:
            count, centre, gram = combine_gram(count, *_moments(x, valid, count))
            mean = turned @ centre
            var = (linear(turned, gram) * turned).sum(1).div_(count.clamp(min=1)).clamp_(min=0)
        else:
            mean, var = fixed_mean * sign, fixed_var
        best, arg = _maxima(x, valid, turned.to(dtype))
        inv = torch.rsqrt(var + eps)
        filled = valid.any(1, keepdim=True)
        best = torch.where(filled, best, mean)
        out = F.leaky_relu_(torch.addcmul(beta - mean * scale * inv, best, scale * inv), SLOPE)
        out.masked_fill_(~filled, 0)
        ctx.save_for_backward(x, valid, turned, sign, scale, mean, inv, count, best, arg, out, centre, gram)
        ctx.dtype = dtype
        mean = mean * sign
        ctx.mark_non_differentiable(mean, var, count)
        return out, mean, var, count

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, valid, turned, sign, scale, mean, inv, count, best, arg, out, centre, gram = ctx.saved_tensors
        clouds, points, width = x.shape
        grad = torch.where(out > 0, grad, grad * SLOPE).masked_fill_(~valid.any(1, keepdim=True), 0)
        grad_beta = grad.sum(0)
        grad_scale = (grad * (best - mean)).sum(0) * inv
        grad = grad * (scale * inv)
        if gram is None:
            grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(turned)
        else:
            share = scale * inv / count.clamp(min=1)
            whole_beta, whole_scale = sum_over_processes(grad_beta, grad_scale)
            c0, c1 = -share * whole_beta, -share * inv * whole_scale
            scaled = c1[:, None] * turned
            grad_x = _dense(x, valid, centre, c0 @ turned, transposed_product(turned, scaled).to(ctx.dtype))
            grad_weight = linear(scaled, gram) + torch.outer(c0, count * centre)
            grad_weight /= world_size()  # of all points; every process adds its part
        rows = arg + torch.arange(0, clouds * points, points, device=x.device)[:, None]
        for part in stacks(clouds, x.device, turned.numel()):
            place, amount = rows[part].flatten(), grad[part, :, None]
            grad_x.view(-1, width).index_add_(0, place, (amount * turned).flatten(0, 1))
            grad_weight += (amount * x.view(-1, width).index_select(0, place).view(-1, *turned.shape)).sum(0)
        return grad_x, None, grad_weight * sign[:, None], grad_scale * sign, grad_beta, None, None, None, None


def _moments(x: Tensor, valid: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (C,) of the valid points and the Gram matrix (C, C) of the centred ones."""
    centre = x.sum((0, 1)) / count.clamp(min=1)
    gram = x.new_zeros((x.shape[2], x.shape[2]))
    for part in stacks(len(x), x.device, x[0].numel()):
        rows = (x[part] - centre).mul_(valid[part, :, None]).flatten(0, 1)
        gram += transposed_product(rows, rows)
    return centre, gram


def _maxima(x: Tensor, valid: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest entry of W x over the valid points of each cloud, and its position: two (B, out)."""
    penalty = torch.zeros_like(valid, dtype=weight.dtype).masked_fill_(~valid, -torch.inf)
    best = x.new_empty((len(x), len(weight)))
    arg = torch.empty_like(best, dtype=torch.int64)
    for part in stacks(len(x), x.device, x.shape[1] * len(weight)):
        best[part], arg[part] = scores(weight[None], x[part].to(weight.dtype), penalty[part]).max(2)
    return best, arg


def _dense(x: Tensor, valid: Tensor, centre: Tensor, constant: Tensor, product: Tensor) -> Tensor:
    """Return constant + (x - centre) product at the valid points, 0 elsewhere."""
    out = torch.empty_like(x)
    bias = constant - centre @ product.to(x.dtype)
    for part in stacks(len(x), x.device, x[0].numel()):
        dense = linear(x[part].flatten(0, 1).to(product.dtype), product.t()).to(x.dtype).add_(bias)
        torch.mul(dense.view_as(x[part]), valid[part, :, None], out=out[part])
    return out
