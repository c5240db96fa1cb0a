"""Clips shown in the joint layout of an encoder that was pretrained on other skeletons."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.api import Batch
from ssl_skel.data.joints import joint_map
from ssl_skel.data.layouts import Layout
from ssl_skel.data.loader import Clips
from ssl_skel.data.ragged import Mode


class MappedClips:
    """Clips in another joint layout; persons, frames and metres stay, absent joints are invalid.

    They are preprocessed in their own layout before, so that origin and turn come from their own joints.

    Args:
        clips: To be shown.
        wanted: Layout of the encoder; its number of persons does not matter.

    Raises:
        SkelError: If there is no mapping between the two layouts.
    """

    def __init__(self, clips: Clips, wanted: Layout) -> None:
        source = torch.tensor(joint_map(clips.layout, wanted).source)
        self._clips, self.frames = clips, clips.frames
        self.layout = wanted.with_persons(clips.layout.persons)
        self._source, self._known = source.clamp_min(0), source >= 0

    def __len__(self) -> int:
        return len(self._clips)

    def sample(self, index: Tensor, frames: int, mode: Mode, gen: torch.Generator | None = None) -> Batch:
        """Resample the clips `index` (B,) to `frames`."""
        return self._show(self._clips.sample(index, frames, mode, gen))

    def batch(self, index: Tensor) -> Batch:
        """The clips `index` (B,) as in evaluation."""
        return self._show(self._clips.batch(index))

    def prefetch(self, index: Tensor) -> None:
        """Say that these clips (B,) are sampled soon."""
        self._clips.prefetch(index)

    def _show(self, batch: Batch) -> Batch:
        """(B, M, T, V, 3) and (B, M, T, V) of the clips to those of the wanted layout."""
        source, known = self._on(batch.xyz.device)
        valid = batch.valid.index_select(3, source) & known
        xyz = batch.xyz.index_select(3, source).masked_fill(~known[:, None], 0)
        return Batch(xyz, valid, batch.index, self.layout)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._source.device != device:
            self._source, self._known = self._source.to(device), self._known.to(device)
        return self._source, self._known
