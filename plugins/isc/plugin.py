"""ISC: contrast between two representations of a skeleton sequence, a sequence and a graph (arXiv 2108.03656)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import Backbone, BackboneFactory, Batch, Layout, TaskConfig
from ssl_skel.nn.agcn import AGCN
from ssl_skel.nn.bigru import BiGRU
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.moco import MomentumContrast, Projected, QueuedTask
from ssl_skel.nn.stgcn import STGCN
from ssl_skel.nn.views import Clips, Recipe, augment
from ssl_skel.yamlio import validate

PARTNERS: dict[str, type[Backbone]] = {"agcn": AGCN, "stgcn": STGCN, "bigru": BiGRU}


class ISCConfig(TaskConfig):
    """Keys of ISC.

    Attributes:
        view: Of query and key.
        partner: Second representation's backbone; the first is the plugin's.
        partner_config: Keys of the partner.
        queue: Keys that are kept of each representation.
        momentum: Of the key encoders.
        temperature: Divides the cosines.
        projection: Size of the projections.
    """

    view: Recipe = Recipe(crop_resize=(0.1, 1.0), shear_or_corrupt=0.6)
    partner: Literal["agcn", "stgcn", "bigru"] = "agcn"
    partner_config: dict[str, Any] = Field(default_factory=dict)
    queue: int = Field(16384, ge=1)
    momentum: float = Field(0.999, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    projection: int = Field(128, ge=1)


class ISC(QueuedTask):
    """Inter-skeleton contrast of two representations."""

    Config = ISCConfig

    def __init__(self, cfg: ISCConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.layout = cfg, layout
        partner = PARTNERS[cfg.partner]
        self.first = self._contrast(backbone())
        self.second = self._contrast(partner(partner.Config(**cfg.partner_config), layout))

    def _contrast(self, encoder: Backbone) -> MomentumContrast:
        net = Projected(encoder, mlp(encoder.dim, encoder.dim, self.cfg.projection))
        return MomentumContrast(net, self.cfg.projection, self.cfg.queue, self.cfg.momentum, self.cfg.temperature)

    @classmethod
    def check(cls, cfg: Any, layout: Layout) -> None:
        """Refuse wrong keys of the partner."""
        validate(PARTNERS[cfg.partner].Config, cfg.partner_config, f"isc: partner_config of {cfg.partner}")

    @classmethod
    def stream_sets(cls, cfg: Any) -> tuple[tuple[str, ...], ...]:
        """Each representation alone, and both fused."""
        return (("first",), ("second",), ("first", "second"))

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Two draws of the recipe, shared by the representations."""
        clips = Clips(batch.xyz, batch.valid)
        return tuple(augment(clips, gen, self.cfg.view, batch.layout) for _ in range(2))

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Queries of one representation against keys and queue of the other, both ways."""
        queries = [net.query(views[0], self.layout) for net in (self.first, self.second)]
        keys = [net.key(views[1], self.layout) for net in (self.first, self.second)]
        one, two = self.second.contrast(queries[0], keys[1]), self.first.contrast(queries[1], keys[0])
        return {"loss": one + two, "sequence": one.detach(), "graph": two.detach()}

    def after_step(self, step: int, total: int) -> None:
        """Queue the keys, move the key encoders."""
        self.first.after_step()
        self.second.after_step()

    def encoders(self) -> dict[str, Backbone]:
        """Both representations."""
        return {"first": self.first.net.encoder, "second": self.second.net.encoder}
