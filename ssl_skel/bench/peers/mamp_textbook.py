"""Masked motion prediction as published code writes it, for `bench speed mamp`.

The form is that of the public MAMP repository: every person a row, absent ones as zeros that are computed,
attention with its whole matrix of weights, kept tokens gathered and put back by two sorts. Written anew here.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ssl_skel.nn.masked_model import MaskedModel
from ssl_skel.nn.transformer import position

__all__ = ["TextbookMAMP"]


def _unfused(blocks: nn.ModuleList) -> nn.ModuleList:
    mine = copy.deepcopy(blocks)
    for block in mine:
        block.attn.fused_attn = False  # type: ignore[union-attr]
    return mine


def _run(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


class TextbookMAMP(nn.Module):
    """MAMP on (N, 3, T, V, M) with the weights of the suite's.

    Args:
        ours: Encoder and decoder.
        tau: Temperature of the motion-aware masking.
        stride: Frames over which motion is taken.
    """

    def __init__(self, ours: MaskedModel, tau: float, stride: int) -> None:
        super().__init__()
        encoder = ours.encoder
        self.ratio, self.tau, self.stride, self.patch = ours.ratio, tau, stride, encoder.cfg.patch
        self.project, self.blocks = copy.deepcopy(encoder.project), _unfused(encoder.blocks)
        self.norm, self.bridge = copy.deepcopy(encoder.norm), copy.deepcopy(ours.bridge)
        self.joint, self.decoder_joint = (nn.Parameter(p.detach().clone()) for p in (encoder.joint, ours.joint))
        self.mask_token = nn.Parameter(ours.mask_token.detach().clone())
        self.decoder, self.decoder_norm = _unfused(ours.blocks), copy.deepcopy(ours.norm)
        self.out = copy.deepcopy(ours.out)

    def _tokens(self, x: Tensor) -> Tensor:
        """(N, T, V, 3) to (N, T' V, 3 P)."""
        rows, frames, joints, _ = x.shape
        x = x.reshape(rows, frames // self.patch, self.patch, joints, 3)
        return torch.einsum("ntpvc->ntvpc", x).reshape(rows, -1, 3 * self.patch)

    def forward(self, clips: Tensor) -> Tensor:
        """Mean squared error of the hidden tokens' normalised motion.

        Args:
            clips: (N, 3, T, V, M), T a multiple of the patch.
        """
        x = clips.permute(0, 4, 2, 3, 1).contiguous().flatten(0, 1)  # (N M, T, V, 3)
        motion = torch.zeros_like(x)
        motion[:, :-self.stride] = x[:, self.stride:] - x[:, :-self.stride]
        target = self._tokens(motion)
        amount = target.abs().mean(-1)
        odds = (amount / (amount.max(-1, keepdim=True).values * self.tau + 1e-10)).softmax(-1)
        scores = odds.log() - (-(torch.rand_like(amount) + 1e-10).log() + 1e-10).log()
        guess, hidden = self.predict(x, scores)
        normal = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        return ((guess - normal).square().mean(-1) * hidden).sum() / hidden.sum()

    def predict(self, persons: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Hide the tokens of highest score and predict all.

        Args:
            persons: (N, T, V, 3).
            scores: (N, S).

        Returns:
            (N, S, 3 P) predictions and (N, S), 1 where hidden.
        """
        dim = self.mask_token.shape[0]
        order = scores.argsort(1)
        restore = order.argsort(1)
        kept = order[:, :max(1, round(order.shape[1] * (1 - self.ratio)))]
        time = position(persons.shape[1] // self.patch, dim, persons.device)[:, None]
        x = self.project(self._tokens(persons)) + (time + self.joint).flatten(0, 1)
        x = x.gather(1, kept[..., None].expand(-1, -1, dim))
        x = self.bridge(self.norm(_run(self.blocks, x)))
        missing = self.mask_token.expand(len(x), restore.shape[1] - kept.shape[1], dim)
        x = torch.cat([x, missing], 1).gather(1, restore[..., None].expand(-1, -1, dim))
        x = _run(self.decoder, x + (time + self.decoder_joint).flatten(0, 1))
        hidden = torch.ones_like(scores)
        hidden[:, :kept.shape[1]] = 0
        return self.out(self.decoder_norm(x)), hidden.gather(1, restore)
