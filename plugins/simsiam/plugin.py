"""SimSiam on skeletons: predict the other view's projection, with a stop-gradient (arXiv 2011.10566)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import simsiam
from ssl_skel.nn.moco import Projected
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips


class SimSiamConfig(PairConfig):
    """Keys of SimSiam.

    Attributes:
        projection: Width of the three layers of the projector.
        hidden: Bottleneck of the predictor.
    """

    projection: int = Field(1024, ge=1)
    hidden: int = Field(512, ge=1)


class SimSiamStream(Method):
    """SimSiam on one modality."""

    def __init__(self, cfg: SimSiamConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.encoder, size = backbone(), cfg.projection
        projector = mlp(self.encoder.dim, size, size, size, norm=True, last_norm="plain")
        self.net = Projected(self.encoder, projector)
        self.predictor = mlp(size, cfg.hidden, size, norm=True)

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Each view predicts the other; the spread of the projections tells a collapse (0) from health (1)."""
        z0, z1 = (self.net(view, self.layout) for view in views)
        loss = simsiam(self.predictor(z0), z0, self.predictor(z1), z1)
        unit = torch.nn.functional.normalize(z0.detach().float(), dim=1)
        return {"loss": loss, "spread": unit.std(0).mean() * z0.shape[1] ** 0.5}


class SimSiam(StreamTask):
    """SimSiam."""

    Config = SimSiamConfig
    method = SimSiamStream
