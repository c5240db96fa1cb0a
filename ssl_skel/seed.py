"""Named seeds: every random draw has a name, and its seed follows from the cell's seed and that name alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *names: str | int) -> int:
    """Derive a seed for one purpose.

    Args:
        seed: The cell's seed.
        names: What it is for, e.g. ``("views", step)``; another name gives an unrelated seed.

    Returns:
        An integer in [0, 2^63).
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a torch generator on `device`, seeded by `derive`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *names))


def shuffled(count: int, *names: str | int) -> torch.Tensor:
    """Return the numbers below `count` in an order drawn for one purpose: (count,) int64 on the CPU."""
    import torch

    return torch.randperm(count, generator=generator(0, *names))
