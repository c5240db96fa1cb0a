"""Chamfer distance between coloured clouds; only the arg-minima of the distances are kept.

FoldingNet (arXiv 1712.07262) takes the larger of the two directed means of unsquared distances, its
best-known code the sum of both with squared ones; both are here.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ssl_skel.nn import fast
from ssl_skel.nn.batch_stats import zero_invalid
from ssl_skel.nn.products import scores, stacks, without_autocast

__all__ = ["chamfer", "nearest_pairs"]

BLOCK = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Largest number of distances held at once."""


def chamfer(
    source: Tensor, target: Tensor, valid: Tensor | None = None, *, reduction: Literal["max", "sum"] = "max",
    squared: bool = False, colour_weight: float = 1.0,
) -> Tensor:
    """Return the mean over clouds of the Chamfer distance.

    Distances and gradients are taken in float32 or better, whatever autocast says. The gradient of an
    unsquared distance of zero is zero. A cloud without a valid target point counts as distance zero.

    Args:
        source: (B, P, C) the decoded cloud, all of it valid; the first 3 channels are positions.
        target: (B, Q, C).
        valid: (B, Q) bool, which target points count; None for all.
        reduction: ``max`` or ``sum`` of the two directed means.
        squared: Whether distances are squared.
        colour_weight: Factor on the colour channels before distances are taken.

    Returns:
        () in float32, or float64 for float64 clouds.
    """
    wide = torch.promote_types(torch.promote_types(source.dtype, target.dtype), torch.float32)
    source, target = source.to(wide), target.to(wide)
    if valid is None:
        valid = target.new_ones(target.shape[:2], dtype=torch.bool)
    if colour_weight != 1:
        factor = source.new_ones(source.shape[2])
        factor[3:] = colour_weight
        source, target = source * factor, target * factor
    target = zero_invalid(target, valid)
    to_target, to_source = nearest_pairs(source, target, valid)
    forth = _length(source - _take(target, to_target), squared).mean(1)
    back = (_length(target - _take(source, to_source), squared) * valid).sum(1) / valid.sum(1).clamp(min=1)
    each = torch.maximum(forth, back) if reduction == "max" else forth + back
    return torch.where(valid.any(1), each, 0).mean()


def _take(points: Tensor, index: Tensor) -> Tensor:
    """Return rows of each cloud: (B, N, C) and (B, n) to (B, n, C)."""
    return points.gather(1, index[..., None].expand(-1, -1, points.shape[2]))


def _length(difference: Tensor, squared: bool) -> Tensor:
    """Return the length or squared length along the last dimension; the gradient of length zero is zero."""
    if squared:
        return difference.square().sum(-1)
    length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return length


@torch.no_grad()
@without_autocast
def nearest_pairs(source: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Find for every point the nearest one of the other cloud.

    Args:
        source: (B, P, C).
        target: (B, Q, C), finite everywhere.
        valid: (B, Q) bool; an invalid target point is nobody's nearest.

    Returns:
        (B, P) int64 positions in the target, (B, Q) int64 positions in the source.
    """
    clouds, points, _ = source.shape
    width = target.shape[1]
    if fast.takes(source):
        return _fast_pairs(source, target, valid)
    centre = target.sum(1, keepdim=True) / valid.sum(1).clamp(min=1)[:, None, None]
    source, target = source - centre, zero_invalid(target - centre, valid)
    norms = torch.where(valid, target.square().sum(-1), torch.inf)
    lengths = source.square().sum(-1, keepdim=True)
    rows = min(points, max(1, BLOCK.get(source.device.type, BLOCK["cuda"]) // width))
    to_target = torch.empty((clouds, points), dtype=torch.int64, device=source.device)
    to_source = torch.zeros((clouds, width), dtype=torch.int64, device=source.device)
    for part in stacks(clouds, source.device, rows * width):
        best = torch.full_like(norms[part], torch.inf)
        for row in range(0, points, rows):
            block = slice(row, row + rows)
            keys = scores(source[part, block] * -2, target[part], norms[part])
            to_target[part, block] = keys.argmin(2)
            value, index = keys.add_(lengths[part, block]).min(1)
            to_source[part] = torch.where(value < best, index + row, to_source[part])
            best = torch.minimum(best, value)
    return to_target, to_source


def _fast_pairs(source: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    from ssl_skel.nn.fast_search import chamfer_minima

    to_target = torch.empty(source.shape[:2], dtype=torch.int64)
    to_source = torch.empty(target.shape[:2], dtype=torch.int64)
    penalty = torch.zeros_like(valid, dtype=source.dtype).masked_fill_(~valid, torch.inf)
    channels_first = target.transpose(1, 2).contiguous()
    fast.over_threads(
        chamfer_minima, len(source), source.contiguous(), channels_first, penalty, to_target, to_source
    )
    return to_target, to_source
