"""SkeletonMAE: predict the joints of hidden tokens (the baseline of MAMP, arXiv 2308.07092)."""

from __future__ import annotations

from torch import Tensor

from ssl_skel.nn.masked_model import MaskedTask, Puzzle
from ssl_skel.nn.transformer import patch


class MAE(MaskedTask):
    """Masked autoencoding: random tokens, their joints."""

    def puzzle(self, xyz: Tensor, valid: Tensor, noise: Tensor) -> Puzzle:
        """Hide at random, predict positions."""
        return Puzzle(noise, patch(xyz, self.size), patch(valid[..., None], self.size)[..., 0])
