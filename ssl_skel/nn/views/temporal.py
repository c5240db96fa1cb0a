"""Views that resample the frames of a clip; all keep T."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.nn.views.clips import Clips, chance, choose, uniform


def resample(clips: Clips, position: Tensor) -> Clips:
    """Interpolate linearly at fractional frames.

    Args:
        clips: Of T frames.
        position: (B, S) frames in [0, T - 1]; a position within 1e-4 of a frame is that frame.

    Returns:
        Clips of S frames; a point is valid where all frames that it is made of are.
    """
    xyz, valid = clips.xyz.transpose(1, 2), clips.valid.transpose(1, 2)  # (B, T, M, V, ...)
    batch, frames = xyz.shape[:2]
    near = position.round()
    position = torch.where((position - near).abs() < 1e-4, near, position)
    low = position.floor()
    share = (position - low)[..., None, None, None]
    first = low.long() + torch.arange(batch, device=xyz.device)[:, None] * frames
    second = (first + (share[..., 0, 0, 0] > 0)).flatten()
    rows, marks = xyz.flatten(0, 1), valid.flatten(0, 1)
    size = (batch, position.shape[1])
    start = rows.index_select(0, first.flatten()).view(*size, *rows.shape[1:])
    end = rows.index_select(0, second).view_as(start)
    both = marks.index_select(0, first.flatten()) & marks.index_select(0, second)
    mixed = torch.lerp(start, end, share.to(start.dtype)).transpose(1, 2)
    return Clips(mixed, both.view(start.shape[:-1]).transpose(1, 2)).clean()


def _frames(clips: Clips) -> Tensor:
    return torch.arange(clips.xyz.shape[2], device=clips.xyz.device, dtype=clips.xyz.dtype)


def crop_resize(clips: Clips, gen: torch.Generator, low: float = 0.1, high: float = 1.0,
                min_frames: int = 2) -> Clips:
    """Stretch a random window of U(low, high) of the clip to all its frames.

    Args:
        clips: To augment.
        gen: Of the draw.
        low: Least share of the clip.
        high: Largest share of the clip.
        min_frames: Least length of the window.

    Source: ISC and CMD ([0.1, 1], at least 64 frames of the raw clip), MAMP ([0.5, 1]).
    """
    frames = clips.xyz.shape[2]
    length = (uniform(clips, gen, low, high, 1) * frames).clamp(min(min_frames, frames), frames)
    start = uniform(clips, gen, 0, 1, 1) * (frames - length)
    step = (length - 1) / max(frames - 1, 1)
    return resample(clips, (start + step * _frames(clips)).clamp(0, frames - 1))


def crop_pad(clips: Clips, gen: torch.Generator, ratio: int = 6) -> Clips:
    """Take a random window of T frames after reflecting T // ratio frames at both ends.

    Source: CrosSCLR and AimCLR (6). The reflection repeats the border frame.
    """
    frames = clips.xyz.shape[2]
    pad = frames // ratio
    offset = (uniform(clips, gen, 0, 1, 1) * (2 * pad + 1)).floor().clamp(max=2 * pad) - pad
    position = (offset + _frames(clips)).remainder(2 * frames)
    return resample(clips, torch.minimum(position, 2 * frames - 1 - position))


def speed(clips: Clips, gen: torch.Generator, low: float = 0.5, high: float = 1.5) -> Clips:
    """Play at U(low, high) times the speed from a random start; a clip that runs out holds its last frame."""
    frames = clips.xyz.shape[2]
    factor = uniform(clips, gen, low, high, 1)
    spare = (frames - 1 - factor * (frames - 1)).clamp(min=0)
    start = uniform(clips, gen, 0, 1, 1) * spare
    return resample(clips, (start + factor * _frames(clips)).clamp(0, frames - 1))


def time_flip(clips: Clips, gen: torch.Generator, p: float = 0.5) -> Clips:
    """With probability `p` play backwards. Source: AimCLR's time flip (off there)."""
    flipped = Clips(clips.xyz.flip(2), clips.valid.flip(2))
    return choose(chance(clips, gen, p), flipped, clips)
