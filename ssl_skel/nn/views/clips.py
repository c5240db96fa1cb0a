"""What a view takes and gives, and draws from a generator."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Clips(NamedTuple):
    """Clips under augmentation.

    Attributes:
        xyz: (B, M, T, V, 3), zero where invalid.
        valid: (B, M, T, V) bool.
    """

    xyz: Tensor
    valid: Tensor

    def clean(self) -> Clips:
        """The same with zeros where invalid."""
        return Clips(self.xyz.masked_fill(~self.valid[..., None], 0), self.valid)


@lru_cache(maxsize=64)
def index_tensor(order: tuple[int, ...], device: torch.device) -> Tensor:
    """(V,) int64 on the device, kept so that a step copies nothing from the host."""
    return torch.tensor(order, device=device)


def uniform(clips: Clips, gen: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw (B, *shape) uniform numbers in [low, high), on the device and in the type of the clips."""
    size = (clips.xyz.shape[0], *shape)
    draw = torch.rand(size, generator=gen, device=clips.xyz.device, dtype=clips.xyz.dtype)
    return low + (high - low) * draw


def chance(clips: Clips, gen: torch.Generator, p: float) -> Tensor:
    """Draw (B, 1, 1, 1) bool, True with probability `p`."""
    return uniform(clips, gen, 0, 1, 1, 1, 1) < p


def choose(chosen: Tensor, then: Clips, other: Clips) -> Clips:
    """Take `then` where (B, 1, 1, 1) `chosen` is True, else `other`."""
    return Clips(torch.where(chosen[..., None], then.xyz, other.xyz),
                 torch.where(chosen, then.valid, other.valid))


def random_subset(clips: Clips, gen: torch.Generator, size: int, count: int) -> Tensor:
    """Draw (B, size) bool with exactly min(count, size) True in each row."""
    order = uniform(clips, gen, 0, 1, size).argsort(dim=1)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :count], True)
