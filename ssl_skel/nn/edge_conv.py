"""Edge convolution (DGCNN, arXiv 1801.07829), factorised: exact, and without a tensor of edges.

The published layer is y_i = max_j LeakyReLU(BN(W [x_j - x_i ; x_i])) over the neighbours j of i. With W = [W1
W2] and a = W1 x, b = (W2 - W1) x the term on an edge is e_ij = a_j + b_i, so that products run over points,
not edges. BN and LeakyReLU are monotone, hence only the largest a_j (the smallest where the scale of BN is
negative) matters, and the statistics over all edges follow from per-point sums. Each of these steps is exact;
see `_EdgeConv`. Statistics are those of the edges of all processes that train together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_skel.nn.batch_stats import combine_moments, sum_over_processes, update_running, uses_batch, zero_invalid
from ssl_skel.nn.neighbours import (
    activate,
    degrees,
    edge_statistics,
    neighbour_max,
    spread_back,
    through_activation,
)
from ssl_skel.nn.products import linear, product_dtype, transposed_product, without_autocast

__all__ = ["EdgeConv"]


class EdgeConv(nn.Module):
    """Linear without bias on [x_j - x_i ; x_i], batch norm over valid edges, LeakyReLU(0.2), maximum over k.

    Attributes:
        linear: (out, 2 in) weight W = [W1 W2].
        norm: Scale, shift and running statistics, as in `nn.BatchNorm1d` over all valid edges.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor, neighbours: Tensor, valid: Tensor) -> Tensor:
        """Convolve over the edges of a graph.

        An edge (i, j) counts where i and j are valid. In training mode a batch with no edge at all gives
        zeros and leaves the running statistics alone; one with a single edge has variance 0, where
        `nn.BatchNorm1d` refuses.

        Args:
            x: (B, N, in); what stands at an invalid point is not read.
            neighbours: (B, N, k) int64 as from `knn` with the same mask.
            valid: (B, N) bool.

        Returns:
            (B, N, out), zero at invalid points.
        """
        norm = self.norm
        batch = uses_batch(norm)
        fixed = (None, None) if batch else (norm.running_mean, norm.running_var)
        x = zero_invalid(x.to(norm.weight.dtype), valid)
        out, mean, var, count = _EdgeConv.apply(
            x, neighbours, valid, self.linear.weight, norm.weight, norm.bias, *fixed, norm.eps,
            product_dtype(x),
        )
        update_running(norm, mean, var, count)
        return out  # type: ignore[no-any-return]


class _EdgeConv(torch.autograd.Function):
    """The layer in closed form, forward and backward.

    Channels whose scale is negative are turned round (weight rows times s = sign(scale), scale made |scale|),
    so that the maximum of a is wanted everywhere. With d_j the in-degree of j, k_i the number of edges of i,
    S_i the sum of a over the neighbours of i, n the number of edges:

        mean = mu_a + mu_b,  mu_a = sum d a / n,  mu_b = sum k b / n
        n var = sum d (a - mu_a)^2 + 2 sum (b - mu_b)(S - k mu_a) + sum k (b - mu_b)^2

    The gradient on an edge is that of the maximum, on arg-max edges only, plus c0 + c1 (e_ij - mean) on every
    edge (the part that flows through the statistics); summed over edges this needs d, S and R_j, the sum of
    b_i over the points i that have j as a neighbour.
    """

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any, x: Tensor, neighbours: Tensor, valid: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor,
        fixed_mean: Tensor | None, fixed_var: Tensor | None, eps: float, dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        clouds, points, width = x.shape
        sign = torch.where(gamma < 0, -1.0, 1.0).to(gamma.dtype)
        scale = gamma * sign
        first, second = weight[:, :width], weight[:, width:]
        table = (torch.cat([first, second - first]) * sign.repeat(2)[:, None]).to(dtype)
        rows = x.reshape(-1, width).to(dtype)
        a, b = (linear(rows, half).to(x.dtype).view(clouds, points, -1) for half in table.chunk(2))
        degree, edges = degrees(neighbours, valid, x.dtype)
        count = edges.sum()
        best, arg, total = neighbour_max(a, neighbours, edges, need_sum=fixed_mean is None)
        if fixed_mean is None or fixed_var is None:
            assert total is not None
            count, mean, var = combine_moments(count, *edge_statistics(a, b, total, degree, edges))
        else:
            mean, var = fixed_mean * sign, fixed_var
        inv = torch.rsqrt(var + eps)
        out = activate(best, b, edges, scale * inv, beta - mean * scale * inv)
        ctx.save_for_backward(
            rows, table, neighbours, degree, edges, sign, scale, mean, inv, a, b, best, arg, total, out, count
        )
        mean = mean * sign
        ctx.mark_non_differentiable(mean, var, count)
        return out, mean, var, count

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        (rows, table, neighbours, degree, edges, sign, scale, mean, inv, a, b, best, arg, total, out, count
         ) = ctx.saved_tensors
        grad, grad_beta, moment = through_activation(grad, out, best, edges, mean)
        grad_scale = moment * inv
        constants = None
        if total is not None:
            share = scale * inv / count.clamp(min=1)
            whole_beta, whole_scale = sum_over_processes(grad_beta, grad_scale)
            constants = (-share * whole_beta, -share * inv * whole_scale)
        both = spread_back(
            grad, arg, a, b, total, neighbours, degree, edges, mean, scale * inv, constants
        ).flatten(0, 1).to(table.dtype)
        grad_x = linear(both, table.t()).to(grad.dtype).view(*neighbours.shape[:2], -1)
        grad_table = transposed_product(both, rows).to(grad.dtype) * sign.repeat(2)[:, None]
        grad_first, grad_second = grad_table.chunk(2)
        grad_weight = torch.cat([grad_first - grad_second, grad_second], 1)
        return grad_x, None, None, grad_weight, grad_scale * sign, grad_beta, None, None, None, None
