"""Gather along the edges of a k-nearest-neighbour graph, and back, with no tensor of edges x channels.

A slot that holds the point itself beyond the number of real edges (see `knn`) changes no maximum; from sums
and degrees it is taken out again by `edges`, the number of real edges of each point.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["degrees", "neighbour_max", "spread_back"]

BLOCK = {"cpu": 1 << 16, "cuda": 1 << 26}
"""Elements of a table that are worked on at once: what stays in a core's cache on a CPU."""


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


def spread_back(
    grad: Tensor, arg: Tensor, b: Tensor | None, neighbours: Tensor, edges: Tensor, factor: Tensor | None
) -> Tensor:
    """Send what each point received back along its edges.

    Args:
        grad: (B, N, C) gradients of the maxima, each added at its arg-max.
        arg: (B, N, C) int32 positions of the maxima.
        b: (B, N, C) values that every neighbour j of i receives a `factor` of; or None.
        neighbours: (B, N, k) int64.
        edges: (B, N) numbers of real edges.
        factor: (C,).

    Returns:
        (B, N, C).
    """
    out = torch.zeros_like(grad).scatter_add_(1, arg.long(), grad)
    if b is None or factor is None:
        return out
    flat = _flat(neighbours)
    rows, k = flat.shape
    target, order = flat.flatten().sort(stable=True)
    starts = torch.searchsorted(target, torch.arange(rows, device=b.device))
    received = F.embedding_bag(order // k, b.flatten(0, 1), starts, mode="sum").view_as(b)
    received -= (k - edges)[..., None] * b
    return out.addcmul_(received, factor)
