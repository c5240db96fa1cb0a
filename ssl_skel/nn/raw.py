"""No encoder at all: the joints of a clip, written one after the other. What every learned feature has to beat."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.nn.views.clips import Clips
from ssl_skel.nn.views.temporal import resample

__all__ = ["RawConfig", "RawJoints"]


class RawConfig(TaskConfig):
    """Keys of the raw joints.

    Attributes:
        frames: Moments, equally far apart, at which the joints are taken; 40 are all frames of a clip in most suites.
    """

    frames: int = Field(40, ge=1)


class RawJoints(Backbone):
    """Positions of all joints of all persons at some moments, zero where invalid, as one vector.

    Its only weights are one gain a coordinate, which is 1 until somebody trains it; frozen it changes nothing.
    """

    version = 1
    Config: ClassVar[type[TaskConfig]] = RawConfig
    tiny: ClassVar[dict[str, Any]] = {"frames": 4}
    fixed_persons: ClassVar[bool] = True

    def __init__(self, cfg: RawConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.frames = cfg.frames
        self.dim = layout.persons * cfg.frames * layout.num_joints * 3
        self.gain = nn.Parameter(torch.ones(self.dim))

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Write (B, M, T, V, 3) as (B, M T' V 3); see `Backbone`."""
        clips = Clips(xyz, valid)
        if xyz.shape[2] != self.frames:
            moments = torch.linspace(0, xyz.shape[2] - 1, self.frames, device=xyz.device, dtype=xyz.dtype)
            clips = resample(clips, moments.expand(len(xyz), -1))
        return Features(clips.clean().xyz.flatten(1) * self.gain)
