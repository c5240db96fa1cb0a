"""Loading without workers: the clips of a part live on the device and a batch is index arithmetic.

`RaggedClips` holds everything on the device. Where memory is short, `PinnedClips` gathers each batch's rows
from the memory map into page-locked memory, one batch ahead where it is told the next, and then does the same
arithmetic, so both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_skel.api import Batch
from ssl_skel.data.layouts import Layout
from ssl_skel.data.preprocess import Family, apply
from ssl_skel.data.ragged import HostClips, Mode, Ragged, positions, sample
from ssl_skel.data.store import Store

CUDA_SHARE = 0.4
"""Share of the free device memory that resident clips may take."""
READ_AHEAD = 2
"""Batches that may wait in page-locked memory."""


class Clips(Protocol):
    """Clips of one part of a split, in a fixed order, without names or labels; an `api.ClipSource`."""

    layout: Layout
    frames: int

    def __len__(self) -> int:
        """Number of clips."""

    def sample(self, index: Tensor, frames: int, mode: Mode, gen: torch.Generator | None = None) -> Batch:
        """Resample the clips `index` (B,) to `frames`; `gen`, on the clips' device, for ``stratified``."""

    def batch(self, index: Tensor) -> Batch:
        """The clips `index` (B,) as in evaluation."""

    def prefetch(self, index: Tensor) -> None:
        """Say that these clips (B,) are sampled soon, so that reading them can begin; changes no number."""


class RaggedClips:
    """Clips that live on the device.

    Args:
        clips: Preprocessed, on the device.
        layout: Of the dataset.
        frames: T of `batch`.
    """

    def __init__(self, clips: Ragged, layout: Layout, frames: int) -> None:
        self._clips, self.layout, self.frames = clips, layout, frames

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def device(self) -> torch.device:
        """Where the clips are."""
        return self._clips.rows.device

    def sample(self, index: Tensor, frames: int, mode: Mode, gen: torch.Generator | None = None) -> Batch:
        """Resample the clips `index` (B,) to `frames`."""
        index = index.to(self.device, non_blocking=True)
        before, weight = positions(self._clips.frames[index], frames, mode, gen)
        xyz, valid = sample(self._clips, index, before, weight)
        return Batch(xyz, valid, index, self.layout)

    def batch(self, index: Tensor) -> Batch:
        """The clips `index` (B,), centred, `self.frames` long."""
        return self.sample(index, self.frames, "centred")

    def prefetch(self, index: Tensor) -> None:
        """Do nothing: the clips are there."""


class PinnedClips:
    """Clips that stay in the memory map; every batch is gathered, moved, preprocessed and sampled.

    Args:
        host: Clips of the part.
        prepare: Preprocesses raw clips on the device.
        layout: Of the dataset.
        frames: T of `batch`.
        device: Where batches go.
    """

    def __init__(self, host: HostClips, prepare: Callable[[Ragged], Ragged], layout: Layout, frames: int,
                 device: torch.device) -> None:
        self._host, self._prepare = host, prepare
        self.layout, self.frames, self.device = layout, frames, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gather")
        self._waiting: list[tuple[list[int], Future[Ragged]]] = []

    def __len__(self) -> int:
        return len(self._host)

    def sample(self, index: Tensor, frames: int, mode: Mode, gen: torch.Generator | None = None) -> Batch:
        """Resample the clips `index` (B,) to `frames`."""
        clips = self._prepare(self._take(index).to(self.device))
        before, weight = positions(clips.frames, frames, mode, gen)
        xyz, valid = sample(clips, torch.arange(len(index), device=self.device), before, weight)
        return Batch(xyz, valid, index.to(self.device), self.layout)

    def batch(self, index: Tensor) -> Batch:
        """The clips `index` (B,), centred, `self.frames` long."""
        return self.sample(index, self.frames, "centred")

    def prefetch(self, index: Tensor) -> None:
        """Gather the clips `index` (B,) in a thread, for a `sample` that comes soon."""
        self._waiting = [*self._waiting[1 - READ_AHEAD:], (index.tolist(), self._pool.submit(self._gather, index))]

    def _take(self, index: Tensor) -> Ragged:
        wanted = index.tolist()
        for number, (found, future) in enumerate(self._waiting):
            if found == wanted:
                self._waiting = self._waiting[number + 1:]
                return future.result()
        return self._gather(index)

    def _gather(self, index: Tensor) -> Ragged:
        return self._host.gather(index.cpu().numpy(), pin=self.device.type == "cuda")


def load_clips(store: Store, part: NDArray[np.int64], family: Family, *, scale: float = 1.0, frames: int = 64,
               device: torch.device | str = "cpu", budget: int | None = None) -> RaggedClips | PinnedClips:
    """Put clips on a device, or leave them in the store where they don't fit.

    Args:
        store: Open store.
        part: (C,) positions in its index.
        family: Preprocessing.
        scale: Factor to metres.
        frames: T in evaluation.
        device: Where batches are wanted.
        budget: Bytes that the clips may take; default: `device_budget`.
    """
    device, layout, host = torch.device(device), store.layout, HostClips.of(store, part)
    prepare = partial(apply, family, layout=layout, scale=scale)
    needed = host.num_rows * (layout.num_joints * 12 + 4)
    if needed > (device_budget(device) if budget is None else budget):
        return PinnedClips(host, prepare, layout, frames, device)
    return RaggedClips(prepare(host.gather().to(device)), layout, frames)


def device_budget(device: torch.device) -> int:
    """Bytes that resident clips may take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * CUDA_SHARE)
    import psutil

    return int(psutil.virtual_memory().available // 2)

