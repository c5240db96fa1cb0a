"""Bidirectional GRU fed one frame at a time, as the public CMD and ISC code does, for `bench speed bigru`."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ssl_skel.nn.bigru import BiGRU

__all__ = ["FrameLoop"]


class FrameLoop(nn.Module):
    """Input normalisation, then the GRU called once a frame; the backward direction never sees the next frame.

    Args:
        ours: The suite's network, whose weights are copied.
    """

    def __init__(self, ours: BiGRU) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(ours.gru.input_size)
        self.norm.load_state_dict(ours.norm.state_dict())
        self.gru = copy.deepcopy(ours.gru)

    def forward(self, clips: Tensor) -> Tensor:
        """Encode (N, 3, T, V, M) clips, persons one by one, absent ones too, to (N, D)."""
        rows, channels, frames, joints, persons = clips.shape
        x = clips.permute(0, 4, 3, 1, 2).contiguous().view(rows * persons, joints * channels, frames)
        x = self.norm(x).transpose(1, 2)
        state, outputs = None, []
        for frame in range(frames):
            out, state = self.gru(x[:, frame:frame + 1], state)
            outputs.append(out)
        return torch.cat(outputs, 1).mean(1).view(rows, persons, -1).mean(1)
