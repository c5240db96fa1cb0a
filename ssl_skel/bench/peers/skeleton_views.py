"""Augmentation as published skeleton code does it: one clip at a time, in numpy, inside a DataLoader's dataset.

The forms are those of the public SkeletonCLR and MAMP feeders (see peers.md, section 2.3); written anew here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

__all__ = ["ViewSet", "crop_and_shear", "loader", "rotate_and_resize"]

Clip = NDArray[np.float32]
View = Callable[[Clip, np.random.Generator], Clip]


def crop_and_shear(clip: Clip, rng: np.random.Generator) -> Clip:
    """Temporal crop of ratio 6 with reflected ends, then a shear of amplitude 0.5, of a (3, T, V, M) clip."""
    frames = clip.shape[1]
    pad = frames // 6
    padded = np.concatenate([clip[:, :pad][:, ::-1], clip, clip[:, frames - pad:][:, ::-1]], 1)
    start = rng.integers(0, 2 * pad + 1)
    matrix = np.eye(3) + rng.uniform(-0.5, 0.5, (3, 3)) * (1 - np.eye(3))
    moved = np.dot(padded[:, start:start + frames].transpose(1, 2, 3, 0), matrix.T)
    out: Clip = moved.transpose(3, 0, 1, 2).astype(np.float32)
    return out


def rotate_and_resize(clip: Clip, rng: np.random.Generator) -> Clip:
    """Rotation about each axis by up to 0.3 rad, then a random half or more stretched to all T frames."""
    for axis, angle in enumerate(rng.uniform(-0.3, 0.3, 3)):
        matrix, (i, j) = np.eye(3), [(1, 2), (0, 2), (0, 1)][axis]
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
        clip = np.einsum("ij,jtvm->itvm", matrix, clip).astype(np.float32)
    frames = clip.shape[1]
    length = max(2, int(rng.uniform(0.5, 1.0) * frames))
    start = int(rng.integers(0, frames - length + 1))
    flat = torch.from_numpy(clip[:, start:start + length].transpose(0, 2, 3, 1).reshape(1, -1, length).copy())
    wide = torch.nn.functional.interpolate(flat, frames, mode="linear", align_corners=False)
    return wide.view(3, *clip.shape[2:], frames).permute(0, 3, 1, 2).numpy()


class ViewSet(Dataset[tuple[Clip, ...]]):
    """Several draws of one view of each clip.

    Args:
        clips: (N, 3, T, V, M), absent persons as zeros.
        view: What is drawn.
        draws: How many of each clip.
    """

    def __init__(self, clips: Clip, view: View, draws: int) -> None:
        self.clips, self.view, self.draws, self.rng = clips, view, draws, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Clip, ...]:
        return tuple(np.ascontiguousarray(self.view(self.clips[index], self.rng)) for _ in range(self.draws))


def loader(clips: Clip, view: View, draws: int, batch: int) -> DataLoader[tuple[Clip, ...]]:
    """Batches in a random order, made in this process: it has the same cores as the side it is compared with."""
    return DataLoader(ViewSet(clips, view, draws), batch, shuffle=True, drop_last=True,
                      generator=torch.Generator().manual_seed(0))
