"""Momentum encoders: a frozen copy that follows a network as an exponential moving average."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from ssl_skel.nn.dropout import Dropout

__all__ = ["Momentum", "momentum_at"]


class Momentum(nn.Module):
    """A copy of a network whose parameters follow it; normalisation keeps statistics of its own.

    Args:
        online: The network; copied, not kept.
    """

    def __init__(self, online: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(online).requires_grad_(False)
        for module in self.net.modules():
            if isinstance(module, Dropout):
                module.reseed()  # else both networks would drop the same entries

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the copy, without gradients."""
        return self.net(*args, **kwargs)

    @torch.no_grad()
    def update(self, online: nn.Module, momentum: float) -> None:
        """Move every parameter to `momentum` times itself plus the rest of `online`'s."""
        torch._foreach_lerp_(list(self.net.parameters()), list(online.parameters()), 1 - momentum)


def momentum_at(step: int, total: int, base: float, final: float = 1.0) -> float:
    """Momentum at a step: from `base` to `final` along half a cosine (BYOL, arXiv 2006.07733)."""
    return final - (final - base) * (math.cos(math.pi * step / max(total, 1)) + 1) / 2
