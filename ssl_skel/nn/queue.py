"""First-in-first-out store of unit vectors from earlier batches (MoCo, arXiv 1911.05722)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.errors import UsageMistake
from ssl_skel.nn.gather import all_gather

__all__ = ["Queue", "check_queue"]


def check_queue(size: int, batch: int) -> None:
    """Refuse a queue that can't hold the keys of one step; any other size wraps around.

    Raises:
        UsageMistake: If the batch is larger.
    """
    if batch > size:
        raise UsageMistake(f"a queue of {size} is smaller than the batch of {batch}",
                           "Set a larger queue or a smaller train.batch.")


class Queue(nn.Module):
    """The newest `size` unit vectors; random ones at first.

    Args:
        size: K.
        dim: D.
    """

    rows: Tensor
    head: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("head", torch.tensor(0))

    @torch.no_grad()
    def push(self, vectors: Tensor) -> None:
        """Replace the oldest rows by (n, D) vectors of all processes, normalised here; never waits for the device.

        Raises:
            UsageMistake: If they are more than the queue holds.
        """
        fresh = F.normalize(all_gather(vectors.detach()).to(self.rows.dtype), dim=1)
        size = len(self.rows)
        check_queue(size, len(fresh))
        place = (self.head + torch.arange(len(fresh), device=fresh.device)) % size
        self.rows.index_copy_(0, place, fresh)
        self.head.add_(len(fresh)).remainder_(size)
