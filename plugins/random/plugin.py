"""The floor: an encoder that is never trained. Fine-tuned from scratch it is the supervised ceiling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_skel.api import Backbone, BackboneFactory, Layout, PretextTask, TaskConfig


class Random(PretextTask):
    """An untrained, frozen backbone."""

    Config = TaskConfig

    def __init__(self, cfg: TaskConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.backbone = backbone().requires_grad_(False)

    def forward(self, views: Any) -> dict[str, Tensor]:
        """A zero that depends on no parameter; the card asks for no epoch, so training never calls it."""
        return {"loss": torch.zeros((), device=views.xyz.device)}

    def encoders(self) -> dict[str, Backbone]:
        """The backbone as it was initialised."""
        return {"encoder": self.backbone}
