"""Batch normalisation over what is valid, alike in one process and in several.

Points that a mask leaves out take no part in the statistics and come out as zero, so that their content can't
change anything. With every point valid and one process it is `nn.BatchNorm1d` (or 2d) exactly. Statistics are
always those of the whole batch: over several processes they are combined, on any device.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.nn.batch_stats import combine_moments, sum_over_processes
from ssl_skel.nn.gather import world_size

__all__ = ["MaskedBatchNorm", "normalise", "statistics"]


def _channels(vector: Tensor, ndim: int) -> Tensor:
    """(C,) to (1, C, 1, ...)."""
    return vector.view(1, -1, *[1] * (ndim - 2))


def statistics(x: Tensor, mask: Tensor | None) -> Tensor:
    """(3, C) count, mean and biased variance of the valid entries of (N, C, ...), zero where invalid."""
    dims = [d for d in range(x.ndim) if d != 1]
    every = x.numel() / x.shape[1]
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    var, mean = torch.var_mean(wide, dims, correction=0)
    if mask is None:
        return torch.stack([torch.full_like(mean, every), mean, var])
    # the entries left out are zeros in both moments, so rescaling corrects them; in float64 as it subtracts
    count = mask.expand(x.shape[0], -1, *x.shape[2:]).sum(dims).double()
    ratio = every / count.clamp(min=1)
    kept = mean.double() * ratio
    spread = ((var.double() + mean.double().square()) * ratio - kept.square()).clamp(min=0)
    return torch.stack([count.expand_as(kept), kept, spread]).to(mean.dtype)


def _combine(local: Tensor) -> Tensor:
    """Combine (3, C) statistics of several processes."""
    return local if world_size() == 1 else torch.stack(combine_moments(*local))


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, with the gradient through the statistics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, stats: Tensor,
                eps: float) -> Tensor:
        inverse = (stats[2] + eps).rsqrt()
        scale = weight * inverse
        ctx.save_for_backward(x, weight, mask, stats, inverse)
        shift = bias - stats[1] * scale
        y = torch.addcmul(_channels(shift, x.ndim), x, _channels(scale, x.ndim)).to(x.dtype)
        return y if mask is None else y.masked_fill_(~mask, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, weight, mask, stats, inverse = ctx.saved_tensors
        grad = grads[0] if mask is None else grads[0].masked_fill(~mask, 0)
        dims = [d for d in range(x.ndim) if d != 1]
        bias_grad = grad.sum(dims, dtype=stats.dtype)
        weight_grad = ((grad * x).sum(dims, dtype=stats.dtype) - stats[1] * bias_grad) * inverse
        (sums,) = sum_over_processes(torch.stack([bias_grad, weight_grad]))
        mean_grad, mean_product = sums / stats[0].clamp(min=1)
        scale = weight * inverse
        slope = -scale * mean_product * inverse
        constant = -scale * mean_grad - slope * stats[1]
        dx = torch.addcmul(_channels(constant, x.ndim), x, _channels(slope, x.ndim))
        dx = torch.addcmul(dx, grad, _channels(scale, x.ndim)).to(x.dtype)
        if mask is not None:
            dx = dx.masked_fill_(~mask, 0)
        return dx, weight_grad.to(weight.dtype), bias_grad.to(weight.dtype), None, None, None


def normalise(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, stats: Tensor, eps: float) -> Tensor:
    """Normalise by the statistics of all processes, with the gradient through them.

    Args:
        x: (N, C, ...), zero where masked.
        weight: (C,) scale.
        bias: (C,) shift.
        mask: Bool, broadcastable to x; None where all is valid.
        stats: (3, C) count, mean and biased variance of the batches of all processes.
        eps: Added to the variance.

    Returns:
        (N, C, ...), zero where masked.
    """
    out: Tensor = _Normalise.apply(x, weight, bias, mask, stats, eps)
    return out


class MaskedBatchNorm(nn.Module):
    """Batch normalisation of (N, C, ...) over valid entries.

    Its parameters and buffers are named as those of `nn.BatchNorm1d`, but it is no subclass: a conversion to
    `nn.SyncBatchNorm` would lose the mask, and is not needed.

    Args:
        channels: C.
        affine: Whether to learn scale and shift.
        eps: Added to the variance.
        momentum: Share of the batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    weight: Tensor
    bias: Tensor
    __constants__: ClassVar[list[str]] = ["eps", "momentum"]

    def __init__(self, channels: int, affine: bool = True, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        one, zero = torch.ones(channels), torch.zeros(channels)
        if affine:
            self.weight, self.bias = nn.Parameter(one.clone()), nn.Parameter(zero.clone())
        else:
            self.register_buffer("weight", one.clone(), persistent=False)
            self.register_buffer("bias", zero.clone(), persistent=False)
        self.register_buffer("running_mean", zero)
        self.register_buffer("running_var", one)
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: (N, C, ...).
            mask: Bool, broadcastable to x with N and the trailing sizes in full; None where all is valid.

        Returns:
            (N, C, ...), zero where masked. A batch without a valid entry leaves the running statistics alone.
        """
        if mask is not None:
            x = x.masked_fill(~mask, 0)
        if not self.training:
            y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return y if mask is None else y.masked_fill(~mask, 0)
        if mask is None and world_size() == 1 and x.numel() > x.shape[1]:
            self.num_batches_tracked.add_(1)
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True,
                                self.momentum, self.eps)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            stats = _combine(statistics(x, mask))
            self._track(stats)
        return normalise(x, self.weight, self.bias, mask, stats, self.eps)

    def _track(self, stats: Tensor) -> None:
        count, mean, var = stats
        step = self.momentum * (count > 0)
        # through `data`: autograd holds both for an unmasked pass before this one, whose gradient does not read them
        self.running_mean.data.add_(step * (mean - self.running_mean))
        self.running_var.data.add_(step * (var * (count / (count - 1).clamp(min=1)) - self.running_var))
        self.num_batches_tracked.add_((count > 0).any())

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return f"{len(self.running_mean)}"
