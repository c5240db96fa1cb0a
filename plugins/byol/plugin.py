"""BYOL on skeletons: predict a momentum network's projection of another view (arXiv 2006.07733)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import byol
from ssl_skel.nn.moco import Projected
from ssl_skel.nn.momentum import Momentum, momentum_at
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips


class BYOLConfig(PairConfig):
    """Keys of BYOL.

    Attributes:
        momentum: Of the target network at the first step.
        final_momentum: At the last step; the cosine between them is the paper's, a constant the skeleton code's.
        hidden: Of projector and predictor.
        projection: Size of the projections.
    """

    momentum: float = Field(0.996, ge=0, le=1)
    final_momentum: float = Field(0.996, ge=0, le=1)
    hidden: int = Field(2048, ge=1)
    projection: int = Field(512, ge=1)


class BYOLStream(Method):
    """BYOL on one modality."""

    def __init__(self, cfg: BYOLConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.encoder = cfg, backbone()
        self.online = Projected(self.encoder, mlp(self.encoder.dim, cfg.hidden, cfg.projection, norm=True))
        self.predictor = mlp(cfg.projection, cfg.hidden, cfg.projection, norm=True)
        self.target = Momentum(self.online)

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Each view predicts the target of the other; views keep their own batch statistics."""
        predictions = [self.predictor(self.online(view, self.layout)) for view in views]
        targets = [self.target(view, self.layout) for view in views]
        return {"loss": byol(predictions[0], targets[1]) + byol(predictions[1], targets[0])}

    def after_step(self, step: int, total: int) -> None:
        """Move the target network."""
        self.target.update(self.online, momentum_at(step, total, self.cfg.momentum, self.cfg.final_momentum))


class BYOL(StreamTask):
    """BYOL."""

    Config = BYOLConfig
    method = BYOLStream
