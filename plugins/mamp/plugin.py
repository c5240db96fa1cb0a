"""MAMP: hide what moves, predict its motion (arXiv 2308.07092)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from torch import Tensor

from ssl_skel.api import Layout
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.losses import motion_target, normalise_target
from ssl_skel.nn.masked_model import MaskedConfig, MaskedTask, Puzzle, motion_scores
from ssl_skel.nn.transformer import patch

if TYPE_CHECKING:
    from ssl_skel.schema import TrainConfig


class MAMPConfig(MaskedConfig):
    """Keys of MAMP.

    Attributes:
        tau: Temperature of the motion-aware masking; 0.80 on NTU-60 and PKU-MMD, 0.75 on NTU-120.
        stride: Frames over which motion is taken.
        normalise: Whether each token's target is standardised.
    """

    tau: float = Field(0.8, gt=0)
    stride: int = Field(1, ge=1)
    normalise: bool = True


class MAMP(MaskedTask):
    """Masked motion prediction: tokens that move, their motion."""

    Config = MAMPConfig

    @classmethod
    def check_training(cls, cfg: Any, layout: Layout, train: TrainConfig) -> None:
        """Refuse clips that are over before motion can be taken."""
        if train.frames <= cfg.stride:
            raise UsageMistake(f"motion over {cfg.stride} frames needs more than {train.frames} frames",
                               "Raise train.frames or lower stride.")

    def puzzle(self, xyz: Tensor, valid: Tensor, noise: Tensor) -> Puzzle:
        """Hide by motion, predict motion."""
        motion, has = (x[:, 0] for x in motion_target(xyz[:, None], valid[:, None], self.cfg.stride))
        target, counts = patch(motion, self.size), patch(has[..., None], self.size)[..., 0]
        if self.cfg.normalise:
            target = normalise_target(target, counts)
        return Puzzle(motion_scores(motion, self.size, noise, self.cfg.tau), target, counts)
