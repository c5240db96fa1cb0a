"""Bidirectional GRU over the frames of each person, as ISC and CMD pretrain (3 layers of 1024, 2048-d).

Unlike their code, which feeds one frame at a time so that the backward direction never sees the future, both
directions see the whole clip, in one fused call (cuDNN's on CUDA, `gru.run_gru` on a CPU).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.nn.gru import run_gru
from ssl_skel.nn.norm import MaskedBatchNorm
from ssl_skel.nn.persons import split_persons
from ssl_skel.nn.stgcn import normalise_joints

__all__ = ["BiGRU", "BiGRUConfig"]


class BiGRUConfig(TaskConfig):
    """Sizes of the network.

    Attributes:
        hidden: Units of each direction; the pooled vector has twice as many.
        layers: Of the GRU.
    """

    hidden: int = Field(1024, ge=1)
    layers: int = Field(3, ge=1)


class BiGRU(Backbone):
    """Input normalisation, GRU, average over valid frames, then over valid persons.

    Frames after a person's last valid one are not run at all; a frame or joint missing before it is the mean.
    """

    version = 1
    Config: ClassVar[type[TaskConfig]] = BiGRUConfig
    tiny: ClassVar[dict[str, Any]] = {"hidden": 16, "layers": 1}

    def __init__(self, cfg: BiGRUConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.dim = 2 * cfg.hidden
        size = 3 * layout.num_joints
        self.norm = MaskedBatchNorm(size)
        self.gru = nn.GRU(size, cfg.hidden, cfg.layers, batch_first=True, bidirectional=True)

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Encode clips; see `Backbone`. Where frames are missing, their number is read from the device."""
        people = split_persons(xyz, valid)
        frames = normalise_joints(self.norm, people).permute(0, 2, 3, 1).flatten(2)  # (N, T, 3V)
        if people.valid is None:
            return Features(people.mean(self._run(frames, None).mean(1)))
        seen = people.valid.any(2)  # (N, T)
        order = torch.arange(1, seen.shape[1] + 1, device=seen.device)
        length = (seen * order).amax(1).clamp(min=1)
        states = self._run(frames, length)
        weight = seen[..., None].to(states.dtype)
        return Features(people.mean((states * weight).sum(1) / weight.sum(1).clamp(min=1)))

    def _run(self, frames: Tensor, length: Tensor | None) -> Tensor:
        """States (N, T, 2 H) of (N, T, 3V) frames, `length` (N,) of them valid; zero after those."""
        if frames.is_cpu:
            return run_gru(self.gru, frames, length)
        if length is None:
            states: Tensor = self.gru(frames)[0]
            return states
        packed = pack_padded_sequence(frames, length.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=frames.shape[1])[0]
