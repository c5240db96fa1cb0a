"""VICReg on skeletons: invariance, variance and covariance of two views' projections (arXiv 2105.04906)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import vicreg
from ssl_skel.nn.moco import Projected
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips


class VICRegConfig(PairConfig):
    """Keys of VICReg.

    Attributes:
        projection: Width of the three layers of the projector.
        invariance: Weight of the mean squared distance.
        variance: Weight of the variance hinge.
        covariance: Weight of the covariance penalty.
        variant: ``code`` halves the sum of both views' hinges, ``paper`` does not.
    """

    projection: int = Field(2048, ge=2)
    invariance: float = Field(5.0, ge=0)
    variance: float = Field(5.0, ge=0)
    covariance: float = Field(1.0, ge=0)
    variant: Literal["code", "paper"] = "code"


class VICRegStream(Method):
    """VICReg on one modality."""

    def __init__(self, cfg: VICRegConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.encoder, size = cfg, backbone(), cfg.projection
        self.net = Projected(self.encoder, mlp(self.encoder.dim, size, size, size, norm=True))

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Compare two views; the statistics are those of the whole batch."""
        z0, z1 = (self.net(view, self.layout) for view in views)
        cfg = self.cfg
        return {"loss": vicreg(z0, z1, cfg.invariance, cfg.variance, cfg.covariance, cfg.variant, all_gather)}


class VICReg(StreamTask):
    """VICReg."""

    Config = VICRegConfig
    method = VICRegStream
