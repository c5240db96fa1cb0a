"""Barlow Twins on skeletons: decorrelate the dimensions of two views' projections (arXiv 2103.03230)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import barlow_twins
from ssl_skel.nn.moco import Projected
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips, Recipe


class BarlowConfig(PairConfig):
    """Keys of Barlow Twins.

    Attributes:
        view: Of both views.
        projection: Width of the three layers of the projector.
        redundancy: Weight of the off-diagonal terms.
    """

    view: Recipe = Recipe(shear=1.0, crop_pad=6, rotate_one_sided=30, index_flip=0.5)
    projection: int = Field(6144, ge=2)
    redundancy: float = Field(2e-4, gt=0)


class BarlowStream(Method):
    """Barlow Twins on one modality."""

    def __init__(self, cfg: BarlowConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.encoder, size = cfg, backbone(), cfg.projection
        self.net = Projected(self.encoder, mlp(self.encoder.dim, size, size, size, norm=True, bias=False))

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Cross-correlate two views over the whole batch."""
        z0, z1 = (self.net(view, self.layout) for view in views)
        return {"loss": barlow_twins(z0, z1, self.cfg.redundancy, all_gather)}


class BarlowTwins(StreamTask):
    """Barlow Twins."""

    Config = BarlowConfig
    method = BarlowStream
