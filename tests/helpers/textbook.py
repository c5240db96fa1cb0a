"""The method's networks as a textbook writes them: edge tensors, repeated codes, distances with autograd.

Everything is plain autograd over the valid points of each cloud, so that nothing here shares a formula with
the package. Clouds are looped over, which is slow and obvious.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.nn.edge_conv import EdgeConv
from ssl_skel.nn.folding import Fold, FoldingNet
from ssl_skel.nn.point_head import PointHead


def real_neighbours(row: list[int]) -> list[int]:
    """Drop the slots that repeat the point itself."""
    return list(dict.fromkeys(row))


def edge_conv(layer: EdgeConv, norm: nn.BatchNorm1d, x: Tensor, graph: Tensor, valid: Tensor) -> Tensor:
    """y_i = max_j LeakyReLU(BN(W [x_j - x_i ; x_i])); `norm` is a copy of the layer's."""
    edges, sizes = [], []
    for cloud, rows, mask in zip(x, graph, valid):
        for point in mask.nonzero().flatten().tolist():
            near = real_neighbours(rows[point].tolist())
            centre = cloud[point].expand(len(near), -1)
            edges.append(torch.cat([cloud[near] - centre, centre], 1))
            sizes.append(len(near))
    terms = F.leaky_relu(norm(torch.cat(edges) @ layer.linear.weight.t()), 0.2)
    pooled = torch.stack([part.max(0).values for part in terms.split(sizes)])
    return x.new_zeros(*valid.shape, pooled.shape[1]).index_put((valid,), pooled)


def point_head(layer: PointHead, norm: nn.BatchNorm1d, x: Tensor, valid: Tensor) -> Tensor:
    """max over points of LeakyReLU(BN(W x)); zero for an empty cloud."""
    terms = F.leaky_relu(norm(x[valid] @ layer.linear.weight.t()), 0.2)
    parts = terms.split(valid.sum(1).tolist())
    zero = x.new_zeros(terms.shape[1])
    return torch.stack([part.max(0).values if len(part) else zero for part in parts])


def fold(layer: Fold, code: Tensor, points: Tensor) -> Tensor:
    """Three linear layers on the code repeated to every point."""
    repeated = code[:, None].expand(-1, points.shape[1], -1)
    hidden = torch.cat([repeated, points.expand(len(code), -1, -1)], 2)
    return layer.third(torch.relu(layer.second(torch.relu(layer.first(hidden)))))


def folding(net: FoldingNet, code: Tensor) -> Tensor:
    """Two folds of the grid."""
    grid = net.grid.to(code.dtype)[None]
    return fold(net.fold2, code, fold(net.fold1, code, grid))


def chamfer(
    source: Tensor, target: Tensor, valid: Tensor, reduction: str = "max", squared: bool = False,
    weight: float = 1.0,
) -> Tensor:
    """Directed means of nearest distances from the full matrix of differences, cloud by cloud."""
    factor = torch.tensor([1.0, 1, 1, weight, weight, weight], dtype=source.dtype)
    losses = []
    for p, q, mask in zip(source * factor, target * factor, valid):
        if not mask.any():
            losses.append((p.sum() + q[mask].sum()) * 0)
            continue
        distance = (p[:, None] - q[mask][None]).square().sum(2)
        if not squared:
            distance = torch.where(distance > 0, distance.clamp(min=1e-300).sqrt(), 0 * distance)
        forth, back = distance.min(1).values.mean(), distance.min(0).values.mean()
        losses.append(torch.maximum(forth, back) if reduction == "max" else forth + back)
    return torch.stack(losses).mean()
