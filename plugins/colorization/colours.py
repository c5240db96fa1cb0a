"""Colours of a skeleton cloud: when a point was recorded, where on the body it lies, whose it is.

Formulas of Skeleton Cloud Colorization (Yang et al., ICCV 2021, arXiv 2108.01959); the rules for segments,
parts and more than two persons are ours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ssl_skel.data.layouts import Layout

IndexRule = Literal["s/S", "(s-1)/(S-1)"]


def spectrum(u: Tensor) -> Tensor:
    """Map [0, 1] to red -> green -> blue; the three channels sum to one.

    Args:
        u: (...) positions in [0, 1].

    Returns:
        (..., 3): r = 1 - 2u falls to 0 at one half, b = 2u - 1 rises from there, g is the rest.
    """
    red, blue = (1 - 2 * u).clamp(min=0), (2 * u - 1).clamp(min=0)
    return torch.stack([red, 1 - red - blue, blue], dim=-1)


def index_colours(index: Tensor, count: int, rule: IndexRule = "s/S") -> Tensor:
    """Colours of 0-based indices among `count`.

    Args:
        index: (...) int64 in [0, count).
        count: How many there are, S.
        rule: With s = index + 1: ``s/S`` (the paper's t/T and j/J), or ``(s-1)/(S-1)``, from pure red on.

    Returns:
        (..., 3) float64.
    """
    if rule == "s/S":
        return spectrum((index + 1).double() / count)
    return spectrum(index.double() / max(count - 1, 1))


def frame_colours(frames: int, device: torch.device | None = None) -> Tensor:
    """Fine temporal colours, u = t/T.

    Args:
        frames: T.
        device: Of the result.

    Returns:
        (T, 3).
    """
    return index_colours(torch.arange(frames, device=device), frames)


def segment_colours(frames: int, segments: int, rule: IndexRule = "s/S",
                    device: torch.device | None = None) -> Tensor:
    """Coarse temporal colours: consecutive segments, of equal length where `segments` divides T.

    Args:
        frames: T.
        segments: S; frame t = 1..T belongs to segment ceil(t S / T), so the last is always reached.
        rule: Index to colour.
        device: Of the result.

    Returns:
        (T, 3).
    """
    index = (torch.arange(1, frames + 1, device=device) * segments - 1) // frames
    return index_colours(index, segments, rule)


def joint_colours(joints: int, device: torch.device | None = None) -> Tensor:
    """Fine spatial colours, u = j/J.

    Args:
        joints: J, in the dataset's own order.
        device: Of the result.

    Returns:
        (J, 3).
    """
    return index_colours(torch.arange(joints, device=device), joints)


def part_members(layout: Layout, parts: int) -> Tensor:
    """Which joints belong to which body part.

    Args:
        layout: Of the skeletons.
        parts: 5 or 10.

    Returns:
        (parts, V) bool; every joint belongs to exactly one.
    """
    members = torch.zeros(parts, layout.num_joints, dtype=torch.bool)
    for part, joints in enumerate(layout.parts if parts == 5 else layout.parts10):
        members[part, list(joints)] = True
    return members


def person_colours(persons: int, device: torch.device | None = None) -> Tensor:
    """Person colours: the first red, the last blue, those between evenly along the spectrum (three: green).

    Args:
        persons: M; the paper knows two.
        device: Of the result.

    Returns:
        (M, 3).
    """
    return index_colours(torch.arange(persons, device=device), persons, "(s-1)/(S-1)")
