"""Dropout that never touches the global random state, and that a checkpoint resumes exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_skel.nn.gather import world_size
from ssl_skel.seed import derive

__all__ = ["Dropout"]


class Dropout(nn.Module):
    """Zero entries with probability `p` and scale the rest by 1 / (1 - p), in training.

    The n-th call draws from a generator seeded by a salt (fixed at construction), n, and the process. Salt
    and n are one buffer, so that a state dict holds them; n is counted on the host too, which spares a step a wait.
    """

    state: Tensor

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p
        self._salt, self._calls = int(torch.randint(2**31, ())), 0
        self.register_buffer("state", torch.tensor([self._salt, 0]))

    def reseed(self) -> None:
        """Draw a new salt from the global state, as at construction; for a copy that must drop other entries."""
        self._salt, self._calls = int(torch.randint(2**31, ())), 0
        self.state.copy_(torch.tensor([self._salt, 0]))

    def forward(self, x: Tensor) -> Tensor:
        """Drop entries of a tensor of any shape."""
        if not self.training or self.p == 0:
            return x
        rank = torch.distributed.get_rank() if world_size() > 1 else 0
        gen = torch.Generator(x.device).manual_seed(derive(self._salt, "dropout", self._calls, rank))
        self._calls += 1
        self.state[1] += 1
        return x * _kept(x, self.p, gen).to(x.dtype).mul_(1 / (1 - self.p))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._salt, self._calls = (int(v) for v in self.state.tolist())

    def extra_repr(self) -> str:
        """Show p."""
        return f"p={self.p}"


def _kept(x: Tensor, p: float, gen: torch.Generator) -> Tensor:
    """Draw which entries of `x` stay, as bool; `p` is rounded to 1 / 65,536.

    Four entries share 64 random bits: `bernoulli_` spends 64 on each, a third of an ST-GCN step in bf16 on a CPU.
    """
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    sixteen = bits.random_(-(2**63), None, generator=gen).view(torch.int16)[:x.numel()]
    return (sixteen >= round(p * 2**16) - 2**15).view(x.shape)
