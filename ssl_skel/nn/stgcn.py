"""ST-GCN (arXiv 1801.07455) at the quarter width that SkeletonCLR and its successors pretrain.

Convolutions start from He's normal initialisation rather than from the N(0, 0.02) of the authors' pretraining:
normalisation hides the difference in training, but an untrained network in evaluation mode gives vectors of 1e-7.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.nn.dropout import Dropout
from ssl_skel.nn.graph import spatial_partition
from ssl_skel.nn.norm import MaskedBatchNorm
from ssl_skel.nn.persons import People, split_persons

__all__ = ["STGCN", "GraphConv", "STGCNConfig", "TemporalConv", "pool_frames"]


class STGCNConfig(TaskConfig):
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


class GraphConv(nn.Module):
    """1 x 1 convolution a neighbour group, summed over the neighbours of each joint.

    Args:
        channels: Input channels.
        out: Output channels.
        groups: K, neighbour groups.
    """

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, groups * channels, 1, 1))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.bias = nn.Parameter(torch.zeros(groups, out))

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, T, V), zero where invalid.
            graph: (K, V, V), or (N, K, V, V) for a graph of each row.

        Returns:
            (N, C', T, V).
        """
        rows, channels, frames, joints = x.shape
        per_row = graph if graph.ndim == 4 else graph[None]
        # the product with the graph first: it works on C rather than on K C' channels
        moved = x.view(rows, 1, channels * frames, joints) @ per_row.to(x.dtype)
        bias = torch.einsum("ko,nkv->nov", self.bias, per_row.sum(2))  # (N or 1, C', V)
        y = F.conv2d(moved.view(rows, -1, frames, joints), self.weight)
        return y + bias[:, :, None].to(y.dtype)


class TemporalConv(nn.Module):
    """Temporal convolution between normalisations, and dropout.

    Args:
        channels: Of input and output.
        kernel: Frames.
        stride: Frames from one output frame to the next.
        dropout: Probability.
    """

    def __init__(self, channels: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm_in, self.norm_out = MaskedBatchNorm(channels), MaskedBatchNorm(channels)
        self.conv = nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (kernel // 2, 0))
        self.dropout = Dropout(dropout)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor, mask: Tensor | None, mask_out: Tensor | None) -> Tensor:
        """Convolve (N, C, T, V) with its mask (N, 1, T, V) to (N, C, T', V) with `mask_out`."""
        y = self.conv(F.relu(self.norm_in(x, mask)))
        out: Tensor = self.dropout(self.norm_out(y, mask_out))
        return out


class Residual(nn.Module):
    """1 x 1 convolution and normalisation where a block changes its shape."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1, (stride, 1))
        self.norm = MaskedBatchNorm(out)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, C, T, V) to (N, C', T', V) with the mask of the output."""
        out: Tensor = self.norm(self.conv(x), mask)
        return out


class Block(nn.Module):
    """Graph convolution, temporal convolution, residual.

    Args:
        channels: Input channels.
        out: Output channels.
        stride: Of the frames.
        joints: V, for the learned importance of each edge.
        kernel: Frames of the temporal convolution.
        dropout: Probability.
        residual: Whether the input is added.
    """

    def __init__(self, channels: int, out: int, stride: int, joints: int, kernel: int, dropout: float,
                 residual: bool = True) -> None:
        super().__init__()
        self.importance = nn.Parameter(torch.ones(3, joints, joints))
        self.spatial = GraphConv(channels, out, 3)
        self.temporal = TemporalConv(out, kernel, stride, dropout)
        self.skip: Residual | None = None
        if residual and (channels != out or stride != 1):
            self.skip = Residual(channels, out, stride)
        self.residual, self.stride = residual, stride

    def forward(self, x: Tensor, mask: Tensor | None, graph: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (N, C, T, V) and its mask (N, 1, T, V) to the output and its mask."""
        after = pool_frames(mask, self.stride)
        y = self.temporal(self.spatial(x, graph * self.importance), mask, after)
        if self.residual:
            y = y + (x if self.skip is None else self.skip(x, after))
        return F.relu(y), after


def pool_frames(mask: Tensor | None, stride: int) -> Tensor | None:
    """Mask of every `stride`-th frame: an output frame is valid where any frame of its stride is.

    Args:
        mask: (N, 1, T, V) bool, or None where all is valid.
        stride: Frames from one output frame to the next.
    """
    if mask is None or stride == 1:
        return mask
    return F.max_pool2d(mask.float(), (stride, 1), ceil_mode=True) > 0


def plan(width: int, dim: int) -> list[tuple[int, int]]:
    """Output channels and stride of the ten blocks."""
    middle = [(2 * width, 2), (2 * width, 1), (2 * width, 1), (4 * width, 2), (4 * width, 1)]
    return [*[(width, 1)] * 4, *middle, (dim, 1)]


class STGCN(Backbone):
    """Ten spatio-temporal blocks on each person, averaged over valid points, then over valid persons.

    Attributes:
        block: What the ten blocks are; a subclass names its own.
    """

    version = 1
    Config: ClassVar[type[TaskConfig]] = STGCNConfig
    tiny: ClassVar[dict[str, Any]] = {"width": 4, "dim": 32, "dropout": 0.0}
    block: ClassVar[type[nn.Module]] = Block
    graph: Tensor

    def __init__(self, cfg: STGCNConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.dim, joints = cfg.dim, layout.num_joints
        self.register_buffer("graph", spatial_partition(layout), persistent=False)
        self.norm = MaskedBatchNorm(joints * 3)
        blocks: list[nn.Module] = []
        channels = 3
        for out, stride in plan(cfg.width, cfg.dim):
            first = not blocks
            blocks.append(self.block(channels, out, stride, joints, cfg.temporal_kernel,
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


def normalise_joints(norm: MaskedBatchNorm, people: People) -> Tensor:
    """Normalise each coordinate of each joint: (N, T, V, 3) to (N, 3, T, V)."""
    rows, frames, joints, _ = people.xyz.shape
    flat = people.xyz.permute(0, 2, 3, 1).reshape(rows, joints * 3, frames)
    mask = None
    if people.valid is not None:
        mask = people.valid.transpose(1, 2).repeat_interleave(3, 1)
    out: Tensor = norm(flat, mask)
    return out.view(rows, joints, 3, frames).permute(0, 2, 3, 1).contiguous()


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Average (N, C, T, V), zero where masked, over valid points to (N, C)."""
    if mask is None:
        return x.mean((2, 3))
    return x.sum((2, 3)) / mask.sum((2, 3)).clamp(min=1)
