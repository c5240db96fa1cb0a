"""DGCNN encoder of skeleton clouds (arXiv 1801.07829), in the classification form without its classifier.

Four edge convolutions on k-nearest-neighbour graphs, their outputs side by side, a linear layer and a maximum
over the points; as `DGCNN_Cls_Encoder` of AnTao97/UnsupervisedPointCloudReconstruction.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.edge_conv import EdgeConv
from ssl_skel.nn.knn import knn
from ssl_skel.nn.point_head import PointHead

__all__ = ["DGCNN", "compact"]


class DGCNNConfig(TaskConfig):
    """Sizes and graph of the encoder.

    Attributes:
        k: Neighbours of a point, itself among them.
        widths: Output channels of the edge convolutions.
        dim: Length of the pooled vector.
        graph: ``dynamic`` builds the graph anew in each layer's features, ``static`` keeps that of the
            positions.
    """

    k: int = Field(20, ge=1)
    widths: tuple[int, ...] = Field((64, 64, 128, 256), min_length=1)
    dim: int = Field(1024, ge=1)
    graph: Literal["dynamic", "static"] = "dynamic"


class DGCNN(Backbone):
    """Encode each clip as one unordered cloud of its M T V joints."""

    version = 1
    Config: ClassVar[type[TaskConfig]] = DGCNNConfig
    tiny: ClassVar[dict[str, Any]] = {"k": 4, "widths": (8, 8, 16, 16), "dim": 32}

    def __init__(self, cfg: DGCNNConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.cfg = cfg
        self.dim = cfg.dim
        self.convs = nn.ModuleList(EdgeConv(i, o) for i, o in zip((3, *cfg.widths), cfg.widths))
        self.head = PointHead(sum(cfg.widths), cfg.dim)

    @classmethod
    def check(cls, cfg: DGCNNConfig, layout: Layout, frames: int) -> None:
        """Refuse more neighbours than a whole cloud has points."""
        points = layout.persons * frames * layout.num_joints
        if cfg.k > points:
            raise UsageMistake(f"k = {cfg.k} neighbours among the {points} points of a cloud ({layout.persons} x "
                               f"{frames} x {layout.num_joints} persons, frames, joints)", "Lower backbone.k.")

    def forward(
        self, xyz: Tensor, valid: Tensor, layout: Layout | None = None, max_points: int | None = None
    ) -> Features:
        """Encode clips.

        Args:
            xyz: (B, M, T, V, 3) positions.
            valid: (B, M, T, V) bool.
            layout: Not used: a cloud has no joints.
            max_points: Promise that no clip has more valid points. Clouds then shrink to this size, which
                saves work where many points are masked or absent and changes no result. On a CPU the bound is
                found anyway; on other devices looking would wait for the device, and points beyond a broken
                promise are lost.

        Returns:
            pooled (B, dim); zero for a clip without a valid point, which takes no part in batch statistics.
        """
        points, mask = compact(xyz.flatten(1, 3), valid.flatten(1), max_points)
        return Features(self.encode(points, mask))

    def encode(self, points: Tensor, valid: Tensor) -> Tensor:
        """Encode (B, N, 3) clouds with (B, N) mask to (B, dim)."""
        x, outputs = points, []
        graph = knn(points, valid, self.cfg.k)
        for number, conv in enumerate(self.convs):
            if number and self.cfg.graph == "dynamic":
                graph = knn(x, valid, self.cfg.k)
            x = conv(x, graph, valid)
            outputs.append(x)
        return self.head(torch.cat(outputs, 2), valid)  # type: ignore[no-any-return]


def compact(points: Tensor, valid: Tensor, max_points: int | None = None) -> tuple[Tensor, Tensor]:
    """Move the valid points of each cloud to the front, in order, and cut what no cloud needs.

    Args:
        points: (B, N, C).
        valid: (B, N) bool.
        max_points: Upper bound on the valid points of a cloud; found here on a CPU, where looking is free.

    Returns:
        (B, n, C) points and (B, n) mask with 1 <= n <= N.

    Raises:
        UsageMistake: If a cloud on the CPU has more valid points than `max_points`.
    """
    if valid.is_cpu:
        largest = int(valid.sum(1).max()) if valid.numel() else 0
        if max_points is not None and largest > max_points:
            raise UsageMistake(f"a cloud has {largest} valid points, more than max_points = {max_points}")
        max_points = largest
    size = max(1, max_points if max_points is not None else valid.shape[1])
    if size >= valid.shape[1]:
        return points, valid
    order = valid.byte().argsort(dim=1, descending=True, stable=True)[:, :size]
    return points.gather(1, order[..., None].expand(-1, -1, points.shape[2])), valid.gather(1, order)
