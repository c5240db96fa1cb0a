"""Transformer over joint x temporal-patch tokens, as MAMP and its SkeletonMAE pretrain (arXiv 2308.07092)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, Layout, TaskConfig
from ssl_skel.nn.linear import Linear, by_fast_products
from ssl_skel.nn.persons import split_persons

__all__ = ["SkeletonTransformer", "TransformerConfig", "blocks", "patch", "position", "run_blocks"]


class TransformerConfig(TaskConfig):
    """Sizes of the network.

    Attributes:
        patch: Frames of one joint that make a token.
        dim: Channels, the length of the pooled vector; even.
        depth: Blocks.
        heads: Of the attention; they divide `dim`.
        mlp_ratio: Hidden channels of a block over `dim`.
    """

    patch: int = Field(4, ge=1)
    dim: int = Field(256, ge=2, multiple_of=2)
    depth: int = Field(8, ge=1)
    heads: int = Field(8, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)

    @model_validator(mode="after")
    def _divides(self) -> TransformerConfig:
        if self.dim % self.heads:
            raise ValueError(f"heads {self.heads} do not divide dim {self.dim}")
        return self


def patch(x: Tensor, frames: int) -> Tensor:
    """Cut (N, T, V, C) into tokens of one joint and `frames` frames.

    Args:
        x: Values; T is filled up with zeros to a multiple of `frames`.
        frames: P.

    Returns:
        (N, S, P, C) with S = ceil(T / P) * V, token number time * V + joint.
    """
    rows, length, joints, channels = x.shape
    missing = -length % frames
    if missing:
        x = torch.cat([x, x.new_zeros(rows, missing, joints, channels)], 1)
    return x.view(rows, -1, frames, joints, channels).transpose(2, 3).flatten(1, 2)


def position(steps: int, dim: int, device: torch.device) -> Tensor:
    """(steps, dim) sine-cosine code of time (arXiv 1706.03762), for clips of any length."""
    rate = torch.exp(torch.arange(dim // 2, device=device) * (-math.log(1e4) / (dim // 2)))
    angle = torch.arange(steps, device=device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


def blocks(dim: int, depth: int, heads: int, mlp_ratio: float) -> nn.ModuleList:
    """Pre-normalised timm blocks, with Xavier weights and zero biases as in MAE."""
    layers = nn.ModuleList(Block(dim, heads, mlp_ratio, qkv_bias=True) for _ in range(depth))
    for module in layers.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return by_fast_products(layers)


def run_blocks(layers: nn.ModuleList, x: Tensor, mask: Tensor | None) -> Tensor:
    """Run (N, S, D) tokens through blocks; tokens where (N, S) is False are seen by none."""
    attend = None
    if mask is not None:
        # a row without any token would divide by zero; nobody reads what it gives
        attend = (mask | ~mask.any(1, keepdim=True))[:, None, None]
    for layer in layers:
        x = layer(x, attn_mask=attend)
    return x


class SkeletonTransformer(Backbone):
    """Tokens of one joint over a few frames; averaged over valid tokens, then over valid persons.

    A masked pretraining uses the parts: `embed` all tokens, choose some, `encode` those alone.
    """

    version = 1
    Config: ClassVar[type[TaskConfig]] = TransformerConfig
    tiny: ClassVar[dict[str, Any]] = {"dim": 32, "depth": 2, "heads": 2}

    def __init__(self, cfg: TransformerConfig, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.cfg, self.dim = cfg, cfg.dim
        self.project = Linear(3 * cfg.patch, cfg.dim)
        self.joint = nn.Parameter(torch.empty(layout.num_joints, cfg.dim))
        self.blocks = blocks(cfg.dim, cfg.depth, cfg.heads, cfg.mlp_ratio)
        self.norm = nn.LayerNorm(cfg.dim)
        nn.init.trunc_normal_(self.joint, std=0.02)

    def embed(self, xyz: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Make tokens.

        Args:
            xyz: (N, T, V, 3), zero where invalid.
            valid: (N, T, V) bool or None where all is valid.

        Returns:
            (N, S, D) tokens with their places, and (N, S) bool, whether a token has a valid point, or None.
        """
        tokens = patch(xyz, self.cfg.patch)
        steps = tokens.shape[1] // xyz.shape[2]
        place = position(steps, self.dim, xyz.device)[:, None] + self.joint  # (T', V, D)
        x = self.project(tokens.flatten(2)) + place.flatten(0, 1)
        if valid is None:
            return x, None
        return x, patch(valid[..., None], self.cfg.patch).any(2)[..., 0]

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Encode (N, S, D) tokens, or any choice of them, with their (N, S) mask."""
        out: Tensor = self.norm(run_blocks(self.blocks, x, mask))
        return out

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Encode clips; see `Backbone`. Persons without a valid point are not computed."""
        people = split_persons(xyz, valid)
        x, mask = self.embed(people.xyz, people.valid)
        x = self.encode(x, mask)
        if mask is None:
            return Features(people.mean(x.mean(1)))
        weight = mask[..., None].to(x.dtype)
        return Features(people.mean((x * weight).sum(1) / weight.sum(1).clamp(min=1)))
