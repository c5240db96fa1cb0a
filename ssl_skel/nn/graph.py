"""Adjacency of a skeleton by spatial partitioning (ST-GCN, arXiv 1801.07455, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.data.layouts import Layout

__all__ = ["hop_distance", "spatial_partition"]


def hop_distance(layout: Layout) -> Tensor:
    """(V, V) float64 number of bones between joints."""
    joints = layout.num_joints
    distance = torch.full((joints, joints), torch.inf, dtype=torch.float64)
    distance.fill_diagonal_(0)
    for child, parent in layout.bones:
        distance[child, parent] = distance[parent, child] = 1
    for middle in range(joints):
        distance = torch.minimum(distance, distance[:, middle, None] + distance[None, middle])
    return distance


def spatial_partition(layout: Layout) -> Tensor:
    """Neighbours of each joint in three groups: itself, those not farther from the root, those farther.

    Args:
        layout: Bones and root (the parentless joint, for 25 joints the spine at the shoulders, as in ST-GCN).

    Returns:
        (3, V, V) float32; entry [k, j, i] is the weight of joint j in group k of joint i, and the weights of
        all groups of a joint sum to 1.
    """
    hops = hop_distance(layout)
    weight = (hops <= 1).double()
    weight = weight / weight.sum(0)
    depth = hops[layout.root]
    near = hops == 1
    farther = depth[:, None] > depth[None]
    groups = [weight * (hops == 0), weight * (near & ~farther), weight * (near & farther)]
    return torch.stack(groups).float()
