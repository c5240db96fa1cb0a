"""The steps of an edge convolution: along the edges of a k-nearest-neighbour graph and back, without edge tensors.

A slot that holds the point itself beyond the number of real edges (see `knn`) changes no maximum; from sums
and degrees it is taken out again by `edges`, the number of real edges of each point.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn import fast
from ssl_skel.nn.batch_stats import SLOPE

__all__ = ["activate", "degrees", "edge_statistics", "neighbour_max", "spread_back", "through_activation"]

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}
"""Elements of a table that are worked on at once: what stays in cache on a CPU, yet is worth two threads."""


def degrees(neighbours: Tensor, valid: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return (B, N) in-degrees and numbers of edges of every point, both 0 at invalid points.

    Args:
        neighbours: (B, N, k) int64.
        valid: (B, N) bool.
        dtype: Type of the result.
    """
    k = neighbours.shape[2]
    edges = valid.sum(1, keepdim=True).clamp(max=k) * valid
    slots = neighbours.flatten(1)
    degree = torch.zeros_like(edges).scatter_add_(1, slots, torch.ones_like(slots)) - (k - edges)
    return degree.to(dtype), edges.to(dtype)


def _flat(neighbours: Tensor) -> Tensor:
    """Return (B N, k) row numbers in the table of all clouds."""
    clouds, points, _ = neighbours.shape
    offset = torch.arange(0, clouds * points, points, device=neighbours.device)
    return (neighbours + offset[:, None, None]).flatten(0, 1)


def neighbour_max(
    a: Tensor, neighbours: Tensor, edges: Tensor, need_sum: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Take the largest row entry among each point's neighbours.

    Args:
        a: (B, N, C).
        neighbours: (B, N, k) int64.
        edges: (B, N) numbers of real edges.
        need_sum: Whether to sum over the real edges, too.

    Returns:
        (B, N, C) maxima, (B, N, C) their positions in the cloud as int32, (B, N, C) sums or None.
    """
    if fast.takes(a):
        return _fast_max(a, neighbours, edges, need_sum)
    channels = a.shape[2]
    flat, table = _flat(neighbours), a.flatten(0, 1)
    best, arg = torch.empty_like(table), torch.empty_like(table, dtype=torch.int32)
    step = max(1, BLOCK.get(a.device.type, BLOCK["cuda"]) // channels)
    local = neighbours.flatten(0, 1)
    for row in range(0, len(flat), step):
        part = slice(row, row + step)
        slot = _max_of_slots(table, flat[part].t().contiguous(), best[part])
        arg[part] = local[part].gather(1, slot.long())
    total = None
    if need_sum:
        total = F.embedding_bag(flat, table, mode="sum").view_as(a)
        total -= (neighbours.shape[2] - edges)[..., None] * a
    return best.view_as(a), arg.view_as(a), total


def _max_of_slots(table: Tensor, slots: Tensor, best: Tensor) -> Tensor:
    """Write the maximum over slots to `best` (n, C) and return the first slot (n, C) that reaches it.

    The slot number is kept as a float, so that every step is a vector operation: where a new row is larger,
    its number is too.
    """
    torch.index_select(table, 0, slots[0], out=best)
    row, larger, slot = torch.empty_like(best), torch.empty_like(best), torch.zeros_like(best)
    for number in range(1, len(slots)):
        torch.index_select(table, 0, slots[number], out=row)
        torch.gt(row, best, out=larger)
        torch.maximum(slot, larger.mul_(number), out=slot)
        torch.maximum(best, row, out=best)
    return slot


def _fast_max(
    a: Tensor, neighbours: Tensor, edges: Tensor, need_sum: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    from ssl_skel.nn.fast_edges import max_over_neighbours

    best, arg = torch.empty_like(a), torch.empty_like(a, dtype=torch.int32)
    total = torch.empty_like(a) if need_sum else a.new_empty((1, 1, 1))
    units = a.shape[0] * a.shape[1]
    fast.over_threads(max_over_neighbours, units, a, neighbours, edges, best, arg, total, need_sum)
    return best, arg, total if need_sum else None


def edge_statistics(
    a: Tensor, b: Tensor, total: Tensor, degree: Tensor, edges: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of e_ij = a_j + b_i over all edges, centred before squares are taken.

    Args:
        a: (B, N, C).
        b: (B, N, C).
        total: (B, N, C) sums of a over the neighbours of each point.
        degree: (B, N) in-degrees.
        edges: (B, N) out-degrees.

    Returns:
        Two (C,); zero where there is no edge.
    """
    if fast.takes(a):
        return _fast_statistics(a, b, total, degree, edges)
    share = edges.sum().clamp(min=1)
    degree, edges = degree[..., None], edges[..., None]
    mean_a, mean_b = (degree * a).sum((0, 1)) / share, (edges * b).sum((0, 1)) / share
    b = b - mean_b
    square = degree * (a - mean_a).square() + b * (2 * (total - edges * mean_a) + edges * b)
    return mean_a + mean_b, square.sum((0, 1)).div_(share).clamp_(min=0)


def _fast_statistics(
    a: Tensor, b: Tensor, total: Tensor, degree: Tensor, edges: Tensor
) -> tuple[Tensor, Tensor]:
    """Centre within each cloud, then join the clouds (Chan, Golub and LeVeque 1979)."""
    from ssl_skel.nn.fast_edges import channel_block, edge_moments

    clouds, points, channels = a.shape
    mean_a, mean_b, square = torch.empty((3, clouds, channels), dtype=torch.float64)
    block = channel_block(points, channels)
    units = clouds * -(-channels // block)
    fast.over_threads(edge_moments, units, a, b, total, degree, edges, mean_a, mean_b, square, block)
    each, count = mean_a + mean_b, edges.sum(1, dtype=torch.float64)[:, None]
    share = count.sum().clamp(min=1)
    mean = (count * each).sum(0) / share
    var = (square + count * (each - mean).square()).sum(0) / share
    return mean.to(a.dtype), var.clamp_(min=0).to(a.dtype)


def activate(best: Tensor, b: Tensor, edges: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Add b to the maxima in place and return LeakyReLU(scale best + shift), 0 where a point has no edge.

    Args:
        best: (B, N, C) maxima of a, overwritten.
        b: (B, N, C).
        edges: (B, N).
        scale: (C,).
        shift: (C,).
    """
    if fast.takes(best):
        from ssl_skel.nn import fast_edges as kernels

        out = torch.empty_like(best)
        flat = (x.flatten(0, 1) for x in (best, b, edges))
        fast.over_threads(kernels.activate, edges.numel(), *flat, scale, shift, SLOPE, out.flatten(0, 1))
        return out
    best += b
    out = F.leaky_relu_(torch.addcmul(shift, best, scale), SLOPE)
    return out.masked_fill_(edges[..., None] == 0, 0)


def through_activation(
    grad: Tensor, out: Tensor, best: Tensor, edges: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Take gradients back through LeakyReLU.

    Args:
        grad: (B, N, C).
        out: (B, N, C) what the layer gave; LeakyReLU keeps the sign.
        best: (B, N, C) maxima.
        edges: (B, N).
        mean: (C,) of the edges.

    Returns:
        (B, N, C) gradients of the normalised maxima, (C,) their sum, (C,) their sum times (best - mean).
    """
    if fast.takes(grad):
        from ssl_skel.nn import fast_edges as kernels

        grad = grad.clone(memory_format=torch.contiguous_format)
        sums = torch.empty((len(grad), 2, grad.shape[2]), dtype=torch.float64)
        fast.over_threads(kernels.through_activation, len(grad), grad, out, best, edges, mean, SLOPE, sums)
        plain, moment = sums.sum(0).to(grad.dtype)
        return grad, plain, moment
    grad = torch.where(out > 0, grad, grad * SLOPE).masked_fill_(edges[..., None] == 0, 0)
    return grad, grad.sum((0, 1)), (grad * (best - mean)).sum((0, 1))


def spread_back(
    grad: Tensor, arg: Tensor, a: Tensor, b: Tensor, total: Tensor | None, neighbours: Tensor, degree: Tensor,
    edges: Tensor, mean: Tensor, scale: Tensor, constants: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Send gradients of the maxima back to a and b.

    Args:
        grad: (B, N, C) gradients of the normalised maxima.
        arg: (B, N, C) int32 positions of the maxima.
        a: (B, N, C).
        b: (B, N, C).
        total: (B, N, C) sums of a over neighbours; None without batch statistics.
        neighbours: (B, N, k) int64.
        degree: (B, N) in-degrees.
        edges: (B, N) out-degrees.
        mean: (C,) of the edges.
        scale: (C,) of the normalisation.
        constants: c0 and c1, (C,) each, of the part c0 + c1 (e_ij - mean) that flows through the statistics
            on every edge; None without batch statistics.

    Returns:
        (B, N, 2 C) gradients of a, then of b.
    """
    if fast.takes(grad):
        from ssl_skel.nn.fast_edges import channel_block, spread_to_neighbours

        both = grad.new_empty((*grad.shape[:2], 2 * grad.shape[2]))
        c0, c1 = constants or (mean, mean)
        width = channel_block(*grad.shape[1:])
        units = len(grad) * -(-grad.shape[2] // width)
        fast.over_threads(
            spread_to_neighbours, units, grad, arg, a, b, a if total is None else total, neighbours, degree, edges,
            mean, scale, c0, c1, constants is not None, both, width,
        )
        return both
    grad = grad * scale
    grad_a = torch.zeros_like(grad).scatter_add_(1, arg.long(), grad)
    if constants is None or total is None:
        return torch.cat([grad_a, grad], 2)
    c0, c1 = constants
    grad_a.addcmul_(_received(b, neighbours, edges), c1).addcmul_(degree[..., None], c0 + c1 * (a - mean))
    grad_b = grad.addcmul_(edges[..., None], c0 + c1 * (b - mean)).addcmul_(total, c1)
    return torch.cat([grad_a, grad_b], 2)


def _received(b: Tensor, neighbours: Tensor, edges: Tensor) -> Tensor:
    """Return, for each point j, the sum of b_i over the points i that have j as a neighbour: (B, N, C)."""
    flat = _flat(neighbours)
    rows, k = flat.shape
    target, order = flat.flatten().sort(stable=True)
    starts = torch.searchsorted(target, torch.arange(rows, device=b.device))
    received = F.embedding_bag(order // k, b.flatten(0, 1), starts, mode="sum").view_as(b)
    return received.sub_((k - edges)[..., None] * b)
