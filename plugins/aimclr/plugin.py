"""AimCLR: momentum contrast that also learns from extreme views (arXiv 2112.03590)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Batch, Layout
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import info_nce_logits
from ssl_skel.nn.moco import MomentumContrast, Projected, QueuedTask, mined_info_nce
from ssl_skel.nn.streams import Method, PairConfig, StreamTask, encode
from ssl_skel.nn.views import Clips, Recipe, augment


class AimCLRConfig(PairConfig):
    """Keys of AimCLR.

    Attributes:
        extreme: View that the encoder must recognise as well.
        queue: Keys that are kept.
        momentum: Of the key encoder.
        temperature: Divides the cosines.
        projection: Size of the projections.
        keep: Share of the features that survive the energy-based drop.
        mine_from: Share of the training after which nearest neighbours count as positives.
        topk: Neighbours mined.
    """

    extreme: Recipe = Recipe(crop_pad=6, shear=0.5, index_flip=0.5, rotate_one_sided=30, noise=0.5, blur=0.5,
                             axis_mask=0.5)
    queue: int = Field(32768, ge=1)
    momentum: float = Field(0.999, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    projection: int = Field(128, ge=1)
    keep: float = Field(0.9, gt=0, le=1)
    mine_from: float = Field(0.5, ge=0, le=1)
    topk: int = Field(1, ge=1)


def energy_drop(features: Tensor, keep: float, eps: float = 1e-4) -> Tensor:
    """Zero the (1 - keep) share of each row's features that stand out most (SimAM's inverse energy).

    Args:
        features: (B, D).
        keep: Share that stays.
        eps: Added to the variance.

    Returns:
        (B, D).
    """
    with torch.no_grad():
        distance = (features - features.mean(1, keepdim=True)).square()
        weight = distance / (4 * (distance.sum(1, keepdim=True) / (features.shape[1] - 1) + eps)) + 0.5
        out = weight.topk(features.shape[1] - round(keep * features.shape[1]), dim=1).indices
    return features.scatter(1, out, 0)


class AimCLRStream(Method):
    """AimCLR on one modality."""

    mining: Tensor

    def __init__(self, cfg: AimCLRConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.encoder = cfg, backbone()
        self.head = mlp(self.encoder.dim, self.encoder.dim, cfg.projection)
        net = Projected(self.encoder, self.head)
        self.moco = MomentumContrast(net, cfg.projection, cfg.queue, cfg.momentum, cfg.temperature)
        self.register_buffer("mining", torch.tensor(cfg.mine_from == 0))

    def forward(self, views: tuple[Clips, Clips, Clips]) -> dict[str, Tensor]:
        """Views: query, key, extreme."""
        query, extreme = (encode(self.encoder, views[i], self.layout) for i in (0, 2))
        vectors = [self.head(v) for v in (query, extreme, energy_drop(extreme, self.cfg.keep))]
        key = self.moco.key(views[1], self.layout)
        normal, *others = (info_nce_logits(v, key, self.moco.queue.rows, self.cfg.temperature) for v in vectors)
        positives = self._mine([normal, *others])
        target = normal.detach().softmax(1)
        spread = [-(target * logits.log_softmax(1)).sum(1).mean() for logits in others]
        contrast = mined_info_nce(normal, positives)
        return {"loss": contrast + (spread[0] + spread[1]) / 2, "contrast": contrast.detach()}

    def _mine(self, logits: list[Tensor]) -> Tensor:
        """(B, K) bool: nearest neighbours of any of the three, once mining has begun."""
        near = torch.zeros_like(logits[0][:, 1:], dtype=torch.bool)
        for one in logits:
            near.scatter_(1, one[:, 1:].topk(self.cfg.topk, dim=1).indices, True)
        return near & self.mining

    def after_step(self, step: int, total: int) -> None:
        """Queue the keys, move the key encoder, begin to mine."""
        self.moco.after_step()
        self.mining.fill_(step >= self.cfg.mine_from * total)


class AimCLR(QueuedTask, StreamTask):
    """AimCLR."""

    Config = AimCLRConfig
    method = AimCLRStream

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Two normal draws and an extreme one."""
        clips = Clips(batch.xyz, batch.valid)
        recipes = (self.cfg.view, self.cfg.view, self.cfg.extreme)
        return tuple(augment(clips, gen, recipe, batch.layout) for recipe in recipes)
