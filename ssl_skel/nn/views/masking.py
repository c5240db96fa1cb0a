"""Views that hide: a coordinate axis, joints, frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ssl_skel.nn.views.clips import Clips, chance, random_subset, uniform


def axis_mask(clips: Clips, gen: torch.Generator, p: float = 0.5) -> Clips:
    """With probability `p` set one random coordinate to zero; points stay valid. Source: AimCLR."""
    axis = uniform(clips, gen, 0, 1, 3).argmax(1)
    hidden = F.one_hot(axis, 3).bool()[:, None, None, None] & chance(clips, gen, p)[..., None]
    return Clips(clips.xyz.masked_fill(hidden, 0), clips.valid)


def joint_mask(clips: Clips, gen: torch.Generator, count: int = 8) -> Clips:
    """Make `count` random joints invalid throughout the clip. Source: PSTL (8, chosen by degree)."""
    hidden = random_subset(clips, gen, clips.xyz.shape[3], count)
    return Clips(clips.xyz, clips.valid & ~hidden[:, None, None]).clean()


def time_mask(clips: Clips, gen: torch.Generator, count: int = 10) -> Clips:
    """Make `count` random frames invalid. Source: PSTL (10, chosen by motion)."""
    hidden = random_subset(clips, gen, clips.xyz.shape[2], count)
    return Clips(clips.xyz, clips.valid & ~hidden[:, None, :, None]).clean()


def joint_corrupt(clips: Clips, gen: torch.Generator, count: int = 15, amplitude: float = 1.0) -> Clips:
    """Set `count` random joints to zero or map them by a random 3 x 3 matrix U(-amplitude, amplitude).

    Each clip draws which of the two. Points stay valid. Source: ISC (15 joints).
    """
    joints = clips.xyz.shape[3]
    hit = random_subset(clips, gen, joints, count)[:, None, None, :, None]
    matrix = uniform(clips, gen, -amplitude, amplitude, 3, 3) * chance(clips, gen, 0.5)[:, 0]
    with torch.autocast(clips.xyz.device.type, enabled=False):
        mapped = (clips.xyz.flatten(1, 3) @ matrix).view_as(clips.xyz)
    return Clips(torch.where(hit, mapped, clips.xyz), clips.valid)
