"""SimCLR on skeletons: two views, one encoder, NT-Xent among all views of the batch (arXiv 2002.05709)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import nt_xent
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips


class SimCLRConfig(PairConfig):
    """Keys of SimCLR.

    Attributes:
        temperature: Divides the cosines.
        projection: Size of the projections.
    """

    temperature: float = Field(0.1, gt=0)
    projection: int = Field(128, ge=1)


class SimCLRStream(Method):
    """SimCLR on one modality."""

    def __init__(self, cfg: SimCLRConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.encoder = backbone()
        self.projector = mlp(self.encoder.dim, self.encoder.dim, cfg.projection)
        self.temperature = cfg.temperature

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Both views go through the network together and share its batch statistics."""
        both = Clips(*(torch.cat(parts) for parts in zip(*views, strict=True)))
        z0, z1 = self.projector(self.embed(self.encoder, both)).chunk(2)
        return {"loss": nt_xent(z0, z1, self.temperature, all_gather)}


class SimCLR(StreamTask):
    """SimCLR."""

    Config = SimCLRConfig
    method = SimCLRStream
