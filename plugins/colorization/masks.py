"""Masks of Masked Skeleton Cloud Repainting: which points the encoder does not see.

All are exact in count, drawn in one batch on the device, differ from clip to clip, and count relative to what
is valid in each clip: a share of its valid points, frames, joints or body parts. At least one unit stays, so
no clip is hidden whole. The strategies are those of arXiv 2304.08799; how they are drawn is ours.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Strategy = Literal["none", "random", "frame", "segment", "joint", "part"]


def masked_count(units: Tensor, ratio: float) -> Tensor:
    """How many of `units` a ratio hides: rounded half up, at most all but one.

    Args:
        units: (...) int64 numbers of valid units.
        ratio: In [0, 1).

    Returns:
        (...) int64.
    """
    count = torch.floor(units.double() * ratio + 0.5).long()
    return torch.minimum(count, (units - 1).clamp(min=0))


def whole_units(units: int, ratio: float) -> int:
    """`masked_count` of one number, before its limit: what a ratio asks for."""
    return math.floor(units * ratio + 0.5)


def choose(present: Tensor, ratio: float, gen: torch.Generator) -> Tensor:
    """Draw a share of the present units of each row, without replacement.

    Args:
        present: (B, U) bool.
        ratio: Share to draw.
        gen: Source of randomness, on the tensor's device.

    Returns:
        (B, U) bool, True at `masked_count` present units of each row.
    """
    score = torch.rand(present.shape, generator=gen, device=present.device)
    score = score.masked_fill(~present, 2.0)
    rank = score.argsort(dim=1).argsort(dim=1)
    return rank < masked_count(present.sum(1), ratio)[:, None]


def choose_runs(present: Tensor, ratio: float, runs: int, gen: torch.Generator) -> Tensor:
    """Draw a share of the present units of each row as contiguous runs.

    The hidden units are cut into `runs` pieces of nearly equal length, the kept ones at random into the gaps
    around them (an empty gap joins two pieces). Absent units do not break a run.

    Args:
        present: (B, U) bool.
        ratio: Share to draw.
        runs: Number of pieces.
        gen: Source of randomness, on the tensor's device.

    Returns:
        (B, U) bool, True at `masked_count` present units of each row.
    """
    total = present.sum(1, keepdim=True)
    hidden = masked_count(total, ratio)
    piece = torch.arange(runs, device=present.device)
    length = hidden // runs + (piece < hidden % runs)
    draw = torch.rand(len(present), runs, generator=gen, device=present.device, dtype=torch.float64)
    gaps = (draw * (total - hidden + 1)).long().sort(dim=1).values
    start = gaps + length.cumsum(1) - length
    rank = (present.cumsum(1) - 1)[:, :, None]
    inside = (rank >= start[:, None]) & (rank < (start + length)[:, None])
    return inside.any(2) & present


def visible(valid: Tensor, strategy: Strategy, ratio: float, gen: torch.Generator, parts: Tensor,
            runs: int = 1) -> Tensor:
    """Hide a share of each clip.

    Args:
        valid: (B, M, T, V) bool.
        strategy: ``random`` points; whole frames (``frame``); contiguous runs of frames (``segment``); the
            same joints in all frames (``joint``); whole body parts in all frames (``part``). Frames, joints and
            parts are those of all persons at once, as they carry the same colour. ``none`` hides nothing.
        ratio: Share of the valid units to hide, in [0, 1).
        gen: Source of randomness, on the tensor's device.
        parts: (P, V) bool, True where a joint belongs to a body part.
        runs: Number of segments.

    Returns:
        (B, M, T, V) bool: valid and not hidden.
    """
    if strategy == "none":
        return valid
    if strategy == "random":
        return valid & ~choose(valid.flatten(1), ratio, gen).view_as(valid)
    if strategy in ("frame", "segment"):
        present = valid.any(3).any(1)
        single = strategy == "frame"
        frames = choose(present, ratio, gen) if single else choose_runs(present, ratio, runs, gen)
        return valid & ~frames[:, None, :, None]
    present = valid.any(2).any(1)
    if strategy == "joint":
        return valid & ~choose(present, ratio, gen)[:, None, None]
    drawn = choose((present[:, None] & parts).any(2), ratio, gen)
    joints = (drawn[:, :, None] & parts).any(1)
    return valid & ~joints[:, None, None]
