"""Masked autoencoding of skeleton tokens (SkeletonMAE and MAMP, arXiv 2308.07092)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, BackboneFactory, Batch, Layout, PretextTask, TaskConfig
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.linear import Linear
from ssl_skel.nn.losses import masked_mse
from ssl_skel.nn.persons import split_persons
from ssl_skel.nn.transformer import SkeletonTransformer, blocks, patch, position, run_blocks
from ssl_skel.nn.views import Clips, Recipe, augment

__all__ = ["MaskedConfig", "MaskedModel", "MaskedTask", "Puzzle", "motion_scores"]


class MaskedConfig(TaskConfig):
    """Keys of masked autoencoding.

    Attributes:
        ratio: Share of a person's tokens that the encoder does not see.
        decoder_depth: Blocks of the decoder; 3 on NTU-60, 5 on NTU-120 and PKU-MMD.
        decoder_heads: Of its attention.
        rotate: Largest angle in degrees of the rotation about each axis.
        crop: Least and largest share of the temporal crop.
    """

    ratio: float = Field(0.9, gt=0, lt=1)
    decoder_depth: int = Field(3, ge=1)
    decoder_heads: int = Field(8, ge=1)
    rotate: float = Field(17.2, ge=0, le=180)
    crop: tuple[float, float] = (0.5, 1.0)


class MaskedModel(nn.Module):
    """Encoder of the tokens that are kept, and decoder that predicts all.

    Args:
        encoder: A transformer.
        layout: Gives the number of joints.
        cfg: Ratio and decoder.
    """

    def __init__(self, encoder: SkeletonTransformer, layout: Layout, cfg: MaskedConfig) -> None:
        super().__init__()
        dim = encoder.dim
        self.encoder, self.ratio = encoder, cfg.ratio
        self.bridge, self.norm = Linear(dim, dim), nn.LayerNorm(dim)
        self.mask_token = nn.Parameter(torch.empty(dim))
        self.joint = nn.Parameter(torch.empty(layout.num_joints, dim))
        self.blocks = blocks(dim, cfg.decoder_depth, cfg.decoder_heads, encoder.cfg.mlp_ratio)
        self.out = Linear(dim, 3 * encoder.cfg.patch)
        for tensor in (self.mask_token, self.joint):
            nn.init.normal_(tensor, std=0.02)

    def forward(self, xyz: Tensor, valid: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Hide the tokens of highest score and predict them.

        Args:
            xyz: (N, T, V, 3), zero where invalid.
            valid: (N, T, V) bool.
            scores: (N, S) finite; tokens without a valid point are hidden before all others.

        Returns:
            (N, S, P, 3) predictions and (N, S) bool, which tokens were hidden.
        """
        x, present = self.encoder.embed(xyz, valid)
        assert present is not None  # a mask was given
        keep = max(1, round(x.shape[1] * (1 - self.ratio)))
        chosen = scores.masked_fill(~present, torch.inf).argsort(1)[:, :keep]
        place = chosen[..., None].expand(-1, -1, x.shape[2])
        seen = self.bridge(self.encoder.encode(x.gather(1, place), present.gather(1, chosen)))
        full = self.mask_token.to(seen.dtype).expand(x.shape).scatter(1, place, seen)
        steps = x.shape[1] // xyz.shape[2]
        full = full + (position(steps, x.shape[2], x.device)[:, None] + self.joint).flatten(0, 1)
        out = self.out(self.norm(run_blocks(self.blocks, full, present)))
        hidden = torch.ones_like(present).scatter(1, chosen, False)
        return out.view(*out.shape[:2], -1, 3), hidden


def motion_scores(motion: Tensor, frames: int, noise: Tensor, temperature: float) -> Tensor:
    """Scores by which tokens with more motion are hidden more often (MAMP's motion-aware masking).

    Args:
        motion: (N, T, V, 3) displacements.
        frames: Of a token.
        noise: (N, S) uniform in [0, 1).
        temperature: Of the softmax over tokens of their motion over its maximum.

    Returns:
        (N, S) log-probabilities plus Gumbel noise.
    """
    amount = patch(motion.abs(), frames).mean((2, 3))
    scaled = amount / (amount.amax(1, keepdim=True) * temperature + 1e-10)
    gumbel = -(-(noise + 1e-10).log() + 1e-10).log()
    return scaled.log_softmax(1) + gumbel


class Puzzle(NamedTuple):
    """What is hidden and what is to be predicted.

    Attributes:
        scores: (N, S); tokens of highest score are hidden.
        target: (N, S, P, 3).
        counts: (N, S, P) bool, points that have a target.
    """

    scores: Tensor
    target: Tensor
    counts: Tensor


class MaskedTask(PretextTask):
    """Pretext task of predicting hidden tokens; a plugin says in `puzzle` which are hidden and what is predicted.

    Raises:
        UsageMistake: If the backbone is not the transformer, whose tokens are what is hidden.
    """

    Config: ClassVar[type[MaskedConfig]] = MaskedConfig

    def __init__(self, cfg: Any, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        encoder = backbone()
        if not isinstance(encoder, SkeletonTransformer):
            raise UsageMistake(f"masked autoencoding hides tokens; {type(encoder).__name__} has none",
                               "Use the backbone transformer.")
        self.cfg, self.size = cfg, encoder.cfg.patch
        self.model = MaskedModel(encoder, layout, cfg)
        self.recipe = Recipe(crop_resize=cfg.crop, rotate_euler=cfg.rotate)

    @classmethod
    def stream_sets(cls, cfg: Any) -> tuple[tuple[str, ...], ...]:
        """The one encoder."""
        return (("joint",),)

    def puzzle(self, xyz: Tensor, valid: Tensor, noise: Tensor) -> Puzzle:
        """Choose tokens and targets.

        Args:
            xyz: (N, T, V, 3) persons.
            valid: (N, T, V) bool.
            noise: (N, S) uniform in [0, 1).
        """
        raise NotImplementedError

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """A view, and for each person (B, M, S) uniform numbers that choose the hidden tokens."""
        clips = augment(Clips(batch.xyz, batch.valid), gen, self.recipe, batch.layout)
        persons, frames, joints = batch.valid.shape[1:]
        tokens = -(-frames // self.size) * joints
        return clips, torch.rand(len(batch), persons, tokens, generator=gen, device=batch.xyz.device)

    def forward(self, views: tuple[Clips, Tensor]) -> dict[str, Tensor]:
        """Squared error over hidden points that have a target."""
        (xyz, valid), noise = views
        people = split_persons(xyz, valid)
        noise = noise.flatten(0, 1)
        if people.rows is not None:
            noise = noise.index_select(0, people.rows)
        mask = people.valid
        if mask is None:
            mask = torch.ones_like(people.xyz[..., 0], dtype=torch.bool)
        scores, target, counts = self.puzzle(people.xyz, mask, noise)
        guess, hidden = self.model(people.xyz, mask, scores)
        return {"loss": masked_mse(guess, target, counts & hidden[..., None], gather=all_gather)}

    def encoders(self) -> dict[str, Backbone]:
        """The encoder; the decoder is thrown away."""
        return {"joint": self.model.encoder}
