"""Views that move points: linear maps about the origin, and exchanges of left and right."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_skel.data.layouts import Layout
from ssl_skel.nn.precision import full_precision
from ssl_skel.nn.views.clips import Clips, chance, choose, index_tensor, uniform


@full_precision
def _linear(xyz: Tensor, matrix: Tensor) -> Tensor:
    """Map (B, ..., 3) column vectors by (B, 3, 3) matrices."""
    return (xyz.flatten(1, -2) @ matrix.transpose(1, 2)).view_as(xyz)


def _euler(angles: Tensor) -> Tensor:
    """(B, 3) angles in radians about x, y, z to (B, 3, 3) rotations Rz Ry Rx."""
    cos, sin = angles.cos(), angles.sin()
    one, zero = torch.ones_like(cos[:, 0]), torch.zeros_like(cos[:, 0])

    def rotation(axis: int) -> Tensor:
        c, s = cos[:, axis], sin[:, axis]
        rows = {0: (one, zero, zero, zero, c, -s, zero, s, c),
                1: (c, zero, s, zero, one, zero, -s, zero, c),
                2: (c, -s, zero, s, c, zero, zero, zero, one)}[axis]
        return torch.stack(rows, 1).view(-1, 3, 3)

    with torch.autocast(angles.device.type, enabled=False):
        return rotation(2) @ rotation(1) @ rotation(0)


def shear(clips: Clips, gen: torch.Generator, amplitude: float = 0.5) -> Clips:
    """Map by a matrix with unit diagonal and off-diagonal entries U(-amplitude, amplitude).

    Source: CrosSCLR and AimCLR (0.5), Barlow Twins of PSTL (1.0).
    """
    matrix = uniform(clips, gen, -amplitude, amplitude, 3, 3)
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    return Clips(_linear(clips.xyz, matrix * (1 - eye) + eye), clips.valid)


def rotate_one_sided(clips: Clips, gen: torch.Generator, degrees: float = 30.0, minor: float = 1.0) -> Clips:
    """Rotate by U(0, degrees) about a random axis and by U(0, minor) about the other two.

    Source: AimCLR, whose angles are never negative.
    """
    axis = uniform(clips, gen, 0, 1, 3).argmax(1, keepdim=True)
    top = torch.full((len(axis), 3), minor, dtype=clips.xyz.dtype, device=axis.device)
    angles = uniform(clips, gen, 0, math.pi / 180, 3) * top.scatter_(1, axis, degrees)
    return Clips(_linear(clips.xyz, _euler(angles)), clips.valid)


def rotate_euler(clips: Clips, gen: torch.Generator, degrees: float = 17.2) -> Clips:
    """Rotate by U(-degrees, degrees) about each axis. Source: CTR-GCN's and MAMP's random_rot (0.3 rad)."""
    bound = math.radians(degrees)
    return Clips(_linear(clips.xyz, _euler(uniform(clips, gen, -bound, bound, 3))), clips.valid)


def rotate_vertical(clips: Clips, gen: torch.Generator, layout: Layout, degrees: float = 180.0) -> Clips:
    """Rotate by U(-degrees, degrees) about the vertical axis of the layout."""
    bound = math.radians(degrees)
    angles = torch.zeros(len(clips.xyz), 3, dtype=clips.xyz.dtype, device=clips.xyz.device)
    angles[:, layout.up] = uniform(clips, gen, -bound, bound)
    return Clips(_linear(clips.xyz, _euler(angles)), clips.valid)


def scale(clips: Clips, gen: torch.Generator, low: float = 0.8, high: float = 1.2) -> Clips:
    """Multiply all coordinates of a clip by one U(low, high). Source: SOfA's view list; range ours."""
    return Clips(clips.xyz * uniform(clips, gen, low, high, 1, 1, 1, 1), clips.valid)


def index_flip(clips: Clips, gen: torch.Generator, layout: Layout, p: float = 0.5) -> Clips:
    """With probability `p` swap the indices of left and right joints and leave coordinates as they are.

    Source: AimCLR's "spatial flip", which gives a person whose arms cross the body.
    """
    order = index_tensor(layout.mirror, clips.xyz.device)
    flipped = Clips(clips.xyz[..., order, :], clips.valid[..., order])
    return choose(chance(clips, gen, p), flipped, clips)


def mirror(clips: Clips, gen: torch.Generator, layout: Layout, p: float = 0.5, axis: int = 0) -> Clips:
    """With probability `p` reflect `axis` and swap left and right joints: the person in a mirror."""
    order = index_tensor(layout.mirror, clips.xyz.device)
    sign = torch.ones(3, dtype=clips.xyz.dtype, device=clips.xyz.device)
    sign[axis] = -1
    mirrored = Clips(clips.xyz[..., order, :] * sign, clips.valid[..., order])
    return choose(chance(clips, gen, p), mirrored, clips)
