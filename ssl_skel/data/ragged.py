"""Clips of different lengths and numbers of persons as a few flat tensors on one device.

Index arithmetic on these tensors replaces the per-sample work of a DataLoader: a batch is two row gathers and
one interpolation, whatever the number of clips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_skel.data.store import Store

Mode = Literal["stratified", "centred"]


@dataclass(frozen=True)
class Ragged:
    """Clips on a device. The last row is zero and has no valid joint: absent persons and frames point to it.

    Attributes:
        rows: (R + 1, V, 3) float32, zero in invalid joints.
        bits: (R + 1,) int32, bit v set where joint v is valid.
        frames: (C,) int64, frames of each clip.
        tracks: (C, M, 3) int64: start frame, length, first row of each person; length 0 for an absent one.
        whole: Whether every row but the last has all joints valid; known when the clips are loaded.
    """

    rows: Tensor
    bits: Tensor
    frames: Tensor
    tracks: Tensor
    whole: bool

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def num_joints(self) -> int:
        """V."""
        return int(self.rows.shape[1])

    @cached_property
    def row_clip(self) -> Tensor:
        """(R,) int64, the clip of each row but the last."""
        clip = torch.arange(len(self), device=self.rows.device)
        return self._of_track(clip[:, None].expand(self.tracks.shape[:2]))

    @cached_property
    def row_frame(self) -> Tensor:
        """(R,) int64, the frame of each row but the last."""
        row = torch.arange(len(self.rows) - 1, device=self.rows.device)
        return row - self._of_track(self.tracks[..., 2] - self.tracks[..., 0])

    @cached_property
    def row_person(self) -> Tensor:
        """(R,) int64, the person of each row but the last."""
        person = torch.arange(self.tracks.shape[1], device=self.rows.device)
        return self._of_track(person.expand(self.tracks.shape[:2]))

    def _of_track(self, values: Tensor) -> Tensor:
        """Repeat a (C, M) table of values over the rows of each track; rows stand in the table's order."""
        lengths = self.tracks[..., 1].reshape(-1)
        return torch.repeat_interleave(values.reshape(-1), lengths, output_size=len(self.rows) - 1)

    def to(self, device: torch.device) -> Ragged:
        """The same clips on another device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True)
                 for name in ("rows", "bits", "frames", "tracks")}
        return replace(self, **moved)


@dataclass(frozen=True)
class HostClips:
    """Clips of one part of a split, still in the memory map; no names, no labels.

    Attributes:
        rows: (R, V, 3) float32 memory map of the whole store.
        bits: (R,) int32 memory map of the whole store.
        frames: (C,) int64, frames of each clip of the part.
        tracks: (C, M, 3) int64: start frame, length, first row in the store; length 0 for an absent person.
    """

    rows: NDArray[np.float32]
    bits: NDArray[np.int32]
    frames: NDArray[np.int64]
    tracks: NDArray[np.int64]

    @classmethod
    def of(cls, store: Store, part: NDArray[np.int64]) -> HostClips:
        """The clips at positions `part` (C,) of a store's index."""
        entries = store.index[part]
        person = np.arange(store.layout.persons)
        present = person < entries["num_tracks"][:, None]
        found: NDArray[Any] = store.tracks[(entries["first_track"][:, None] + person)[present]]
        tracks = np.zeros((len(part), len(person), 3), np.int64)
        tracks[present] = np.stack([found[name] for name in ("start", "length", "offset")], axis=1)
        return cls(store.rows, store.valid.view(np.int32), entries["frames"].astype(np.int64), tracks)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def num_rows(self) -> int:
        """Rows of this part."""
        return int(self.tracks[..., 1].sum())

    def gather(self, index: NDArray[np.int64] | None = None, pin: bool = False) -> Ragged:
        """Copy clips into fresh host tensors.

        Args:
            index: (B,) clips of this part; None for all.
            pin: Page-locked memory, for an asynchronous copy to a CUDA device.
        """
        index = np.arange(len(self)) if index is None else index
        frames, tracks = self.frames[index], self.tracks[index]
        lengths = tracks[..., 1].ravel()
        total, joints = int(lengths.sum()), self.rows.shape[1]
        offsets = np.cumsum(lengths) - lengths
        source = np.repeat(tracks[..., 2].ravel() - offsets, lengths) + np.arange(total)
        table = np.stack([tracks[..., 0], tracks[..., 1], offsets.reshape(tracks.shape[:2])], axis=2)
        rows = torch.empty((total + 1, joints, 3), dtype=torch.float32, pin_memory=pin)
        bits = torch.empty(total + 1, dtype=torch.int32, pin_memory=pin)
        np.take(self.rows, source, axis=0, out=rows[:total].numpy(), mode="clip")
        np.take(self.bits, source, out=bits[:total].numpy(), mode="clip")
        rows[total], bits[total] = 0, 0
        whole = bool((bits[:total] == (1 << joints) - 1).all())
        return Ragged(rows, bits, torch.from_numpy(frames), torch.from_numpy(table), whole)


def positions(frames: Tensor, length: int, mode: Mode, gen: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Choose where in each clip to look: bin i of T covers [i L / T, (i + 1) L / T).

    A frame f covers [f, f + 1), so a place p of a bin stands at frame p - 0.5, clamped to [0, L - 1]. Clips
    shorter than T repeat by the same rule.

    Args:
        frames: (B,) int64, L of each clip.
        length: T.
        mode: ``stratified``, one uniform place a bin; ``centred``, the middle of the bin, in exact integers.
        gen: For ``stratified``, on the device of `frames`.

    Returns:
        (B, T) int64 earlier frame and (B, T) float32 weight of the frame after it.
    """
    bins = torch.arange(length, device=frames.device)
    last = (frames - 1)[:, None]
    if mode == "centred":
        doubled = ((2 * bins + 1) * frames[:, None] - length).clamp_min(0)
        doubled = torch.minimum(doubled, 2 * length * last)
        return doubled // (2 * length), (doubled % (2 * length)).float() / (2 * length)
    place = torch.rand(len(frames), length, generator=gen, device=frames.device)
    place = ((bins + place) * (frames[:, None] / length) - 0.5).clamp_min(0)
    place = torch.minimum(place, last.float())
    before = place.floor()
    return before.long(), place - before


def sample(clips: Ragged, index: Tensor, before: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolate clips between frames.

    A joint that is valid in only one of the two frames is taken from that frame.

    Args:
        clips: On the device of the other arguments.
        index: (B,) int64 clips.
        before: (B, T) int64 earlier frame.
        weight: (B, T) float32 weight of the frame after it.

    Returns:
        (B, M, T, V, 3) float32, exact zero where invalid, and (B, M, T, V) bool.
    """
    start, length, first = clips.tracks[index].unsqueeze(-2).unbind(-1)
    absent = len(clips.rows) - 1
    offset = before[:, None] - start
    after = torch.minimum(before + 1, (clips.frames[index] - 1)[:, None])[:, None] - start
    rows_a = torch.where((offset >= 0) & (offset < length), first + offset, absent)
    rows_b = torch.where((after >= 0) & (after < length), first + after, absent)
    valid, weight = _weights(clips, rows_a, rows_b, weight[:, None])
    shape = (*rows_a.shape, clips.num_joints, 3)
    flat = clips.rows.view(len(clips.rows), -1)
    xyz_a = flat.index_select(0, rows_a.reshape(-1)).view(shape)
    xyz_b = flat.index_select(0, rows_b.reshape(-1)).view(shape)
    return torch.lerp(xyz_a, xyz_b, weight[..., None]), valid


def _weights(clips: Ragged, rows_a: Tensor, rows_b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Validity (B, M, T, V) and the weight of the later frame, (B, M, T, V) or (B, M, T, 1)."""
    joints = clips.num_joints
    if clips.whole:
        absent = len(clips.rows) - 1
        in_a, in_b = (rows_a != absent)[..., None], (rows_b != absent)[..., None]
        valid = (in_a | in_b).expand(*rows_a.shape, joints).contiguous()
    else:
        shifts = torch.arange(joints, dtype=torch.int32, device=rows_a.device)
        in_a, in_b = ((clips.bits[rows][..., None] >> shifts) & 1 == 1 for rows in (rows_a, rows_b))
        valid = in_a | in_b
    both = weight[..., None].expand(in_a.shape)
    return valid, torch.where(in_a & in_b, both, (in_b & ~in_a).float())
