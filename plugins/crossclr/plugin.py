"""CrosSCLR: joint, motion and bone encoders that mine positives for one another (arXiv 2104.14141)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, BackboneFactory, Batch, Layout
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.moco import MomentumContrast, Projected, QueuedTask, mined_info_nce
from ssl_skel.nn.streams import ModalTask, PairConfig, streamed
from ssl_skel.nn.views import Clips, Modality, augment


class CrosSCLRConfig(PairConfig):
    """Keys of CrosSCLR.

    Attributes:
        streams: The modalities that exchange positives.
        queue: Keys that are kept of each.
        momentum: Of the key encoders.
        temperature: Divides the cosines.
        projection: Size of the projections.
        cross_from: Share of the training after which positives are exchanged.
        topk: Neighbours mined.
        context: Whether similarities in the other modality weigh the logits.
    """

    streams: tuple[Modality, ...] = Field(("joint", "motion", "bone"), min_length=2)
    queue: int = Field(32768, ge=1)
    momentum: float = Field(0.999, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    projection: int = Field(128, ge=1)
    cross_from: float = Field(0.5, ge=0, le=1)
    topk: int = Field(1, ge=1)
    context: bool = True


class CrosSCLR(QueuedTask, ModalTask):
    """CrosSCLR."""

    Config = CrosSCLRConfig
    crossing: Tensor

    def __init__(self, cfg: CrosSCLRConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.layout = cfg, layout
        self.nets = nn.ModuleDict({name: self._stream(streamed(backbone, name)) for name in cfg.streams})
        self.register_buffer("crossing", torch.tensor(cfg.cross_from == 0))

    def _stream(self, encoder: Backbone) -> MomentumContrast:
        net = Projected(encoder, mlp(encoder.dim, encoder.dim, self.cfg.projection))
        return MomentumContrast(net, self.cfg.projection, self.cfg.queue, self.cfg.momentum, self.cfg.temperature)

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Two draws of the recipe, shared by the modalities."""
        clips = Clips(batch.xyz, batch.valid)
        return tuple(augment(clips, gen, self.cfg.view, batch.layout) for _ in range(2))

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Each modality contrasts alone; later, on neighbours that each other one finds near its keys."""
        queries, own, near = {}, {}, {}
        for name, net in self.nets.items():
            queries[name], key = net.query(views[0], self.layout), net.key(views[1], self.layout)
            positive = (queries[name] * key).sum(1, keepdim=True)
            own[name] = torch.cat([positive, net.similarity(queries[name])], 1)
            near[name] = net.similarity(key)
        alone = [mined_info_nce(s / self.cfg.temperature, torch.zeros_like(s[:, 1:], dtype=torch.bool))
                 for s in own.values()]
        pairs = [self._exchange(own[a], near[b]) for a in own for b in own if a != b]
        loss = torch.where(self.crossing, torch.stack(pairs).sum(), torch.stack(alone).sum())
        return {"loss": loss, "contrast": torch.stack(alone).mean().detach()}

    def _exchange(self, own: Tensor, other: Tensor) -> Tensor:
        """InfoNCE of one modality with the positives, and the context, of another.

        Args:
            own: (B, 1 + K) cosines of the queries with their keys and the queue.
            other: (B, K) cosines of the other modality's keys with its queue.
        """
        positives = torch.zeros_like(other, dtype=torch.bool)
        positives.scatter_(1, other.topk(self.cfg.topk, dim=1).indices, True)
        if self.cfg.context:
            own = torch.cat([own[:, :1], own[:, 1:] * other], 1)
        return mined_info_nce(own / self.cfg.temperature, positives)

    def after_step(self, step: int, total: int) -> None:
        """Queue the keys, move the key encoders, begin to exchange."""
        for net in self.nets.values():
            net.after_step()
        self.crossing.fill_(step >= self.cfg.cross_from * total)

    def encoders(self) -> dict[str, Backbone]:
        """One encoder for each modality."""
        return {name: net.net.encoder for name, net in self.nets.items()}
