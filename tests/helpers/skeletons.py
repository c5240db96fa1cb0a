"""Random clips with absent persons, missing joints and padding, for tests of networks and plugins."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.api import Batch
from ssl_skel.data.layouts import Layout


def random_batch(layout: Layout, clips: int = 4, frames: int = 12, seed: int = 0, whole: bool = False) -> Batch:
    """Smooth random walks of `layout.persons` persons, with all kinds of gaps unless `whole`."""
    gen = torch.Generator().manual_seed(seed)
    persons, joints = layout.persons, layout.num_joints
    pose = torch.randn(clips, persons, 1, joints, 3, generator=gen)
    walk = torch.randn(clips, persons, frames, joints, 3, generator=gen).cumsum(2) * 0.1
    valid = torch.ones(clips, persons, frames, joints, dtype=torch.bool)
    if not whole:
        valid[::2, 1:] = False
        valid[-1, :, :, joints // 2] = False
        valid[0, :, frames // 2] = False
        valid[1 % clips, :, frames - max(frames // 4, 1) + (frames == 1):] = False
    xyz = (pose + walk).masked_fill(~valid[..., None], 0)
    return Batch(xyz, valid, torch.arange(clips), layout)


def with_junk(batch: Batch, junk: float) -> Tensor:
    """Positions with `junk` at every invalid point."""
    return batch.xyz.masked_fill(~batch.valid[..., None], junk)
