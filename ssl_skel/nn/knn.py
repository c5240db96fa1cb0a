"""Nearest neighbours of every point in its own cloud, by blocked products and a partial select."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.errors import UsageMistake
from ssl_skel.nn import fast
from ssl_skel.nn.batch_stats import zero_invalid
from ssl_skel.nn.products import scores, without_autocast

__all__ = ["knn"]

GROUP = 8
"""Columns a group: the k nearest lie in the k groups with the nearest members, so those come first."""

BLOCK = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Largest number of distances held at once: a cache's worth on a CPU, enough to fill the device elsewhere."""


@torch.no_grad()
@without_autocast
def knn(points: Tensor, valid: Tensor, k: int) -> Tensor:
    """Find the k nearest valid points of every valid point; a point is its own neighbour.

    Distances are taken in the type of `points`, never lower. Where a cloud has fewer than k valid points, the
    slots left over hold the point itself, and so do all slots of an invalid point: such a slot changes no
    maximum, and `edge_conv` leaves it out of the batch statistics.

    Args:
        points: (B, N, C); what stands at an invalid point is not read.
        valid: (B, N) bool.
        k: Number of neighbours, at least 1; may exceed N.

    Returns:
        (B, N, k) int64 positions within the cloud, in no particular order. Among equal distances any may be
        chosen.

    Raises:
        UsageMistake: If k is below 1.
    """
    if k < 1:
        raise UsageMistake(f"k = {k} neighbours", "Ask for at least one")
    clouds, count, _ = points.shape
    points = zero_invalid(points.detach(), valid)
    share = valid.sum(1).clamp(min=1).to(points.dtype)[:, None, None]
    points = zero_invalid(points - points.sum(1, keepdim=True) / share, valid)
    padded = -(-count // GROUP) * GROUP
    norms = torch.where(valid, points.square().sum(-1), torch.inf)
    norms = torch.nn.functional.pad(norms, (0, padded - count), value=torch.inf)
    table = torch.nn.functional.pad(points, (0, 0, 0, padded - count))
    turned = points * -2
    block = BLOCK.get(points.device.type, BLOCK["cuda"])
    rows = min(count, max(1, block // padded))
    group = max(1, block // (rows * padded))
    found = torch.empty((clouds, count, k), dtype=torch.int64, device=points.device)
    for first in range(0, clouds, group):
        part = slice(first, first + group)
        for row in range(0, count, rows):
            keys = scores(turned[part, row:row + rows], table[part], norms[part])
            found[part, row:row + rows] = _select(keys, k, row)
    self_index = torch.arange(count, device=points.device)[None, :, None]
    return torch.where(valid[..., None], found, self_index)


def _select(keys: Tensor, k: int, first_row: int) -> Tensor:
    """Return (b, n, k) positions of the k smallest finite keys of a row; the row itself where fewer.

    Args:
        keys: (b, n, N), N a multiple of `GROUP`; infinite where no neighbour may be.
        k: How many.
        first_row: Position of row 0 in its cloud.
    """
    clouds, rows, width = keys.shape
    if fast.takes(keys):
        from ssl_skel.nn.fast_search import select_nearest

        found = torch.empty((clouds, rows, k), dtype=torch.int64)
        for each, places in zip(keys, found):
            fast.over_threads(select_nearest, rows, each, first_row, places)
        return found
    groups = width // GROUP
    if groups > 2 * k:
        nearest = keys.view(clouds, rows, GROUP, groups).amin(2)
        members = nearest.topk(k, largest=False, sorted=False).indices
        steps = torch.arange(0, width, groups, device=keys.device)
        columns = (members[..., None] + steps).flatten(2)
        values, chosen = keys.gather(2, columns).topk(k, largest=False, sorted=False)
        index = columns.gather(2, chosen)
    else:
        values, index = keys.topk(min(k, width), largest=False, sorted=False)
    own = torch.arange(first_row, first_row + rows, device=keys.device)[None, :, None]
    index = torch.where(values == torch.inf, own, index)
    missing = k - index.shape[2]
    return torch.cat([index, own.expand(clouds, rows, missing)], 2) if missing > 0 else index
