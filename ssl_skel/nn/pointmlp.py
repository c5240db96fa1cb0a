"""A cheap encoder of skeleton clouds: residual point-wise layers with the whole cloud as context.

In the spirit of PointMLP (arXiv 2202.07123), whose residual point-wise layers it keeps, without its sampling and
neighbour search: the maximum over all points, as in PointNet (arXiv 1612.00593), is the only thing points share.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.nn.norm import MaskedBatchNorm

__all__ = ["PointMLP", "PointMLPConfig"]


class PointMLPConfig(TaskConfig):
    """Sizes of the network.

    Attributes:
        width: Channels of the blocks.
        depth: Number of blocks.
        dim: Length of the pooled vector.
    """

    width: int = Field(64, ge=1)
    depth: int = Field(4, ge=1)
    dim: int = Field(512, ge=1)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Maximum of (B, C, N) over points where (B, 1, N) is True; zero where none is."""
    top = x.masked_fill(~mask, -torch.inf).amax(2)
    return torch.where(mask.any(2), top, torch.zeros_like(top))


class PointLayer(nn.Module):
    """Point-wise linear layer and normalisation."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Conv1d(channels, out, 1, bias=False), MaskedBatchNorm(out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, N) to (B, C', N), zero where masked."""
        out: Tensor = self.norm(self.linear(x), mask)
        return out


class PointBlock(nn.Module):
    """Residual block: two point-wise layers on a point's channels and the maximum over its cloud."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.local, self.context = PointLayer(width, width), nn.Linear(width, width, bias=False)
        self.out = PointLayer(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, C, N), zero where masked, to the same."""
        shared = self.context(masked_max(x, mask))[:, :, None]
        y = F.relu(self.local(x, mask) + shared)
        return F.relu(x + self.out(y, mask)).masked_fill(~mask, 0)


class PointMLP(Backbone):
    """Encode each clip as one unordered cloud of its M T V joints; maximum and mean over valid points."""

    version = 1
    Config: ClassVar[type[TaskConfig]] = PointMLPConfig
    tiny: ClassVar[dict[str, Any]] = {"width": 8, "depth": 2, "dim": 32}

    def __init__(self, cfg: PointMLPConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.dim = cfg.dim
        self.first = PointLayer(3, cfg.width)
        self.blocks = nn.ModuleList(PointBlock(cfg.width) for _ in range(cfg.depth))
        self.last = PointLayer(cfg.width, cfg.dim)
        self.pool = nn.Linear(2 * cfg.dim, cfg.dim)

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Encode clips; see `Backbone`."""
        mask = valid.flatten(1)[:, None]  # (B, 1, N)
        points = xyz.masked_fill(~valid[..., None], 0).flatten(1, 3).transpose(1, 2)
        x = F.relu(self.first(points, mask))
        for block in self.blocks:
            x = block(x, mask)
        x = F.relu(self.last(x, mask))
        mean = x.sum(2) / mask.sum(2).clamp(min=1)
        return Features(self.pool(torch.cat([masked_max(x, mask), mean], 1)))
