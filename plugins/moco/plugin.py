"""SkeletonCLR: momentum contrast with a queue on skeletons (CrosSCLR's baseline, arXiv 2104.14141)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.moco import MomentumContrast, Projected, QueuedTask
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips


class MoCoConfig(PairConfig):
    """Keys of momentum contrast.

    Attributes:
        queue: Keys that are kept.
        momentum: Of the key encoder.
        temperature: Divides the cosines.
        projection: Size of the projections.
    """

    queue: int = Field(32768, ge=1)
    momentum: float = Field(0.999, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    projection: int = Field(128, ge=1)


class MoCoStream(Method):
    """Momentum contrast on one modality."""

    def __init__(self, cfg: MoCoConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.encoder = backbone()
        head = mlp(self.encoder.dim, self.encoder.dim, cfg.projection)
        net = Projected(self.encoder, head)
        self.moco = MomentumContrast(net, cfg.projection, cfg.queue, cfg.momentum, cfg.temperature)

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """The first view is the query, the second the key."""
        query = self.moco.query(views[0], self.layout)
        return {"loss": self.moco.contrast(query, self.moco.key(views[1], self.layout))}

    def after_step(self, step: int, total: int) -> None:
        """Queue the keys, move the key encoder."""
        self.moco.after_step()


class MoCo(QueuedTask, StreamTask):
    """SkeletonCLR."""

    Config = MoCoConfig
    method = MoCoStream
