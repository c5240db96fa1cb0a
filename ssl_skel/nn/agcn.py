"""Adaptive graph convolution: ST-GCN with learned and attended edges (2s-AGCN, arXiv 1805.07694).

Edges of a block are the sum of the skeleton's, of learned ones common to all clips, and of a softmax over joints that
each clip gives. Blocks are otherwise those of `stgcn`: the extra residual around the spatial half is left out.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.nn.graph import spatial_partition
from ssl_skel.nn.norm import MaskedBatchNorm
from ssl_skel.nn.persons import split_persons
from ssl_skel.nn.stgcn import GraphConv, Residual, TemporalConv, masked_mean, normalise_joints, plan, pool_frames

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


class AGCN(Backbone):
    """Ten adaptive blocks on each person, averaged over valid points, then over valid persons."""

    version = 1
    Config: ClassVar[type[TaskConfig]] = AGCNConfig
    tiny: ClassVar[dict[str, Any]] = {"width": 4, "dim": 32, "dropout": 0.0}
    graph: Tensor

    def __init__(self, cfg: AGCNConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.dim, joints = cfg.dim, layout.num_joints
        self.register_buffer("graph", spatial_partition(layout), persistent=False)
        self.norm = MaskedBatchNorm(joints * 3)
        blocks: list[nn.Module] = []
        channels = 3
        for out, stride in plan(cfg.width, cfg.dim):
            first = not blocks
            blocks.append(AdaptiveBlock(channels, out, stride, joints, cfg.temporal_kernel,
                                        0 if first else cfg.dropout, residual=not first))
            channels = out
        self.blocks = nn.ModuleList(blocks)

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Encode clips; see `Backbone`. Persons without a valid point are not computed."""
        people = split_persons(xyz, valid)
        x = normalise_joints(self.norm, people)  # (N, 3, T, V)
        mask = people.mask
        for block in self.blocks:
            x, mask = block(x, mask, self.graph)
        return Features(people.mean(masked_mean(x, mask)))
