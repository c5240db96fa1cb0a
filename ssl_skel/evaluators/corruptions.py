"""What can be wrong with a recording, in five severities each; batched, on the clips' device.

Sizes are relative to the body (its mean bone length) or to the clip, so that they mean the same for any dataset.
A corruption never leaves a clip without a valid point that it had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from ssl_skel.api import Batch, ClipSource
from ssl_skel.data.layouts import Layout


class Corruption(Protocol):
    """Damages a batch: (batch, size, generator on its device) -> batch."""

    def __call__(self, batch: Batch, size: float, gen: torch.Generator) -> Batch:
        """Return the damaged batch."""



class ChangedClips:
    """Clips as another source gives them, changed batch by batch; an `api.ClipSource`.

    Args:
        clips: The source.
        change: What happens to each batch, in order.
    """

    def __init__(self, clips: ClipSource, change: Callable[[Batch], Batch]) -> None:
        self.layout: Layout = clips.layout
        self._clips, self._change = clips, change

    def __len__(self) -> int:
        return len(self._clips)

    def batch(self, index: Tensor) -> Batch:
        """Return the changed clips at positions `index`."""
        return self._change(self._clips.batch(index))

    def prefetch(self, index: Tensor) -> None:
        """Start to gather the clips at positions `index`."""
        self._clips.prefetch(index)


def noise(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Add Gaussian noise to each joint and axis, its sd a share of the clip's mean bone length."""
    drawn = torch.randn(batch.xyz.shape, generator=gen, device=batch.xyz.device, dtype=batch.xyz.dtype)
    return _with(batch, batch.xyz + size * bone_length(batch)[:, None, None, None, None] * drawn, batch.valid)


def joints(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Lose a share of the joints of each person for the whole clip."""
    b, m, _, v = batch.valid.shape
    order = torch.rand(b, m, 1, v, generator=gen, device=batch.xyz.device).argsort(dim=-1).argsort(dim=-1)
    return _keep(batch, order >= round(size * v))


def part(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Occlude one of the five body parts of everybody for a contiguous share of the clip."""
    b, _, t, v = batch.valid.shape
    device = batch.xyz.device
    members = torch.zeros(len(batch.layout.parts), v, dtype=torch.bool, device=device)
    for row, some in enumerate(batch.layout.parts):
        members[row, list(some)] = True
    hidden = members[torch.randint(len(members), (b,), generator=gen, device=device)]
    during = _window(b, t, size, gen, device)
    return _keep(batch, ~(hidden[:, None, None, :] & during[:, None, :, None]))


def frames(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Lose a share of a clip's frames, anywhere; at least one with a valid point stays."""
    seen = batch.valid.any(dim=3).any(dim=1)
    drawn = torch.rand(seen.shape, generator=gen, device=seen.device) + (~seen).to(batch.xyz.dtype)
    place = drawn.argsort(dim=1).argsort(dim=1)
    count = seen.sum(dim=1, keepdim=True)
    lost = torch.minimum((size * count).round().long(), count - 1)
    return _keep(batch, (place >= lost)[:, None, :, None])


def rate(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Record at 1 / size of the frame rate: each frame is held until the next one recorded."""
    t = torch.arange(batch.valid.shape[2], device=batch.xyz.device)
    held = (t / size).floor().mul(size).round().long().clamp_max(len(t) - 1)
    return replace(batch, xyz=batch.xyz[:, :, held], valid=batch.valid[:, :, held])


def view(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Turn the camera about the vertical axis, to one side or the other."""
    side = torch.randint(2, (len(batch),), generator=gen, device=batch.xyz.device) * 2 - 1
    angle = side * math.radians(size)
    first, second = (axis for axis in range(3) if axis != batch.layout.up)
    cos, sin = (f(angle).to(batch.xyz.dtype)[:, None, None, None] for f in (torch.cos, torch.sin))
    xyz = batch.xyz.clone()
    xyz[..., first] = cos * batch.xyz[..., first] - sin * batch.xyz[..., second]
    xyz[..., second] = sin * batch.xyz[..., first] + cos * batch.xyz[..., second]
    return replace(batch, xyz=xyz)


def person(batch: Batch, size: float, gen: torch.Generator) -> Batch:
    """Lose one person, drawn among those seen, for a contiguous share of the clip; a single one stays."""
    seen = batch.valid.flatten(2).any(dim=2)
    drawn = torch.rand(seen.shape, generator=gen, device=seen.device).masked_fill(~seen, -1).argmax(dim=1)
    who = torch.nn.functional.one_hot(drawn, seen.shape[1]).bool() & (seen.sum(dim=1, keepdim=True) > 1)
    during = _window(len(batch), batch.valid.shape[2], size, gen, batch.xyz.device)
    lost = who[:, :, None] & during[:, None, :]
    others = (batch.valid & ~who[:, :, None, None]).flatten(1).any(dim=1)
    return _keep(batch, ~(lost & others[:, None, None])[..., None])


CORRUPTIONS: Mapping[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (noise, (0.02, 0.05, 0.1, 0.2, 0.4)),
    "joints": (joints, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "part": (part, (0.2, 0.4, 0.6, 0.8, 1.0)),
    "frames": (frames, (0.1, 0.25, 0.5, 0.75, 0.9)),
    "rate": (rate, (2, 3, 4, 6, 8)),
    "view": (view, (15, 30, 45, 60, 90)),
    "person": (person, (0.2, 0.4, 0.6, 0.8, 1.0)),
}
"""Name -> what it does and its size at severities 1 to 5."""


def bone_length(batch: Batch) -> Tensor:
    """Mean length of a clip's bones over persons and frames where both ends are valid, (B,); 0 where none is."""
    child, parent = (list(ends) for ends in zip(*batch.layout.bones, strict=True))
    both = batch.valid[..., child] & batch.valid[..., parent]
    length = torch.linalg.vector_norm(batch.xyz[..., child, :] - batch.xyz[..., parent, :], dim=-1)
    total: Tensor = (length * both).flatten(1).sum(dim=1)
    return total / both.flatten(1).sum(dim=1).clamp_min(1)


def _window(count: int, size: int, share: float, gen: torch.Generator, device: torch.device) -> Tensor:
    """(count, size) bool, True on a contiguous share of places that starts anywhere."""
    length = round(share * size)
    start = (torch.rand(count, 1, generator=gen, device=device) * (size - length + 1)).floor()
    place = torch.arange(size, device=device)
    return (place >= start) & (place < start + length)


def _keep(batch: Batch, kept: Tensor) -> Batch:
    """Make invalid what is not kept, except where nothing valid would be left of a clip."""
    valid = batch.valid & kept
    some = valid.flatten(1).any(dim=1)[:, None, None, None]
    return _with(batch, batch.xyz, torch.where(some, valid, batch.valid))


def _with(batch: Batch, xyz: Tensor, valid: Tensor) -> Batch:
    return replace(batch, xyz=xyz.masked_fill(~valid[..., None], 0), valid=valid)
