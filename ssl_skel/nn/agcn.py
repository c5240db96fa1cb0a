"""Adaptive graph convolution: ST-GCN with learned and attended edges (2s-AGCN, arXiv 1805.07694).

Edges of a block are the sum of the skeleton's, of learned ones common to all clips, and of a softmax over joints that
each clip gives. Blocks are otherwise those of `stgcn`: the extra residual around the spatial half is left out.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import TaskConfig
from ssl_skel.nn.stgcn import STGCN, GraphConv, Residual, TemporalConv, pool_frames

__all__ = ["AGCN", "AGCNConfig", "AdaptiveGraph"]


class AGCNConfig(TaskConfig):
    """Sizes of the network.

    Attributes:
        width: Channels of the first four blocks; the next three have twice, the next two four times as many.
        dim: Channels of the last block, the length of the pooled vector.
        temporal_kernel: Frames that a temporal convolution sees; odd.
        dropout: After each temporal convolution but the first.
    """

    width: int = Field(16, ge=1)
    dim: int = Field(256, ge=1)
    temporal_kernel: int = Field(9, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)


class AdaptiveGraph(nn.Module):
    """Edges of each row.

    Args:
        channels: Input channels.
        inner: Channels of the two embeddings that are compared.
        joints: V.
    """

    def __init__(self, channels: int, inner: int, joints: int) -> None:
        super().__init__()
        self.learned = nn.Parameter(torch.full((3, joints, joints), 1e-6))
        self.inner = inner
        self.embed = nn.Conv2d(channels, 6 * inner, 1)

    def forward(self, x: Tensor, mask: Tensor | None, graph: Tensor) -> Tensor:
        """Add learned and attended edges.

        Args:
            x: (N, C, T, V), zero where invalid.
            mask: (N, 1, T, V) bool or None.
            graph: (3, V, V), the skeleton's.

        Returns:
            (N, 3, V, V); column i sums its attended weights over all joints j to 1.
        """
        rows, _, frames, joints = x.shape
        both = self.embed(x)
        if mask is not None:
            both = both.masked_fill(~mask, 0)
        both = both.view(rows, 2, 3, self.inner * frames, joints)
        scores = both[:, 0].transpose(2, 3) @ both[:, 1] / (self.inner * frames)
        edges: Tensor = graph + self.learned + scores.softmax(2)
        return edges


class AdaptiveBlock(nn.Module):
    """Adaptive graph convolution, temporal convolution, residual; arguments as those of `stgcn.Block`."""

    def __init__(self, channels: int, out: int, stride: int, joints: int, kernel: int, dropout: float,
                 residual: bool = True) -> None:
        super().__init__()
        self.adapt = AdaptiveGraph(channels, max(out // 4, 1), joints)
        self.spatial = GraphConv(channels, out, 3)
        self.temporal = TemporalConv(out, kernel, stride, dropout)
        self.skip: Residual | None = None
        if residual and (channels != out or stride != 1):
            self.skip = Residual(channels, out, stride)
        self.residual, self.stride = residual, stride

    def forward(self, x: Tensor, mask: Tensor | None, graph: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (N, C, T, V) and its mask (N, 1, T, V) to the output and its mask."""
        after = pool_frames(mask, self.stride)
        y = self.temporal(self.spatial(x, self.adapt(x, mask, graph)), mask, after)
        if self.residual:
            y = y + (x if self.skip is None else self.skip(x, after))
        return F.relu(y), after


class AGCN(STGCN):
    """`STGCN` with adaptive blocks."""

    version = 1
    Config: ClassVar[type[TaskConfig]] = AGCNConfig
    block: ClassVar[type[nn.Module]] = AdaptiveBlock
