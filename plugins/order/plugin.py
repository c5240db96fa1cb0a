"""Temporal jigsaw: tell in which order the segments of a clip stand (as in MS2L, arXiv 2010.05599)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Batch, Layout
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.streams import Method, StreamConfig, StreamTask
from ssl_skel.nn.views import Clips, Recipe, augment, resample

if TYPE_CHECKING:
    from ssl_skel.schema import TrainConfig


class OrderConfig(StreamConfig):
    """Keys of the jigsaw.

    Attributes:
        view: Before the segments are exchanged.
        segments: S; there are S! orders.
    """

    view: Recipe = Recipe(shear=0.5, crop_resize=(0.5, 1.0))
    segments: int = Field(3, ge=2, le=5)


def shuffle(clips: Clips, order: Tensor) -> Clips:
    """Put the segments of each clip in another order.

    Args:
        clips: (B, M, T, V, 3); frames that S doesn't divide are left out at the end.
        order: (B, S) int64, the segment that stands at each place.
    """
    frames, segments = clips.xyz.shape[2], order.shape[1]
    length = max(frames // segments, 1)
    inside = torch.arange(length, device=order.device)
    place = (order[..., None] * length + inside).flatten(1).clamp(max=frames - 1)
    return resample(clips, place.to(clips.xyz.dtype))


class OrderStream(Method):
    """Jigsaw on one modality."""

    def __init__(self, cfg: OrderConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.encoder = backbone()
        orders = len(list(itertools.permutations(range(cfg.segments))))
        self.head = mlp(self.encoder.dim, self.encoder.dim, orders)

    def forward(self, views: tuple[Clips, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the order, and the share that is told right."""
        clips, target = views
        logits = self.head(self.embed(self.encoder, clips)).float()
        right = (logits.argmax(1) == target).float().mean()
        return {"loss": F.cross_entropy(logits, target), "accuracy": right}


class Order(StreamTask):
    """Temporal jigsaw."""

    Config = OrderConfig
    method = OrderStream
    orders: Tensor

    def __init__(self, cfg: OrderConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        table = torch.tensor(list(itertools.permutations(range(cfg.segments))))
        self.register_buffer("orders", table, persistent=False)

    @classmethod
    def check_training(cls, cfg: Any, layout: Layout, train: TrainConfig) -> None:
        """Refuse clips of fewer frames than segments."""
        super().check_training(cfg, layout, train)
        if train.frames < cfg.segments:
            raise UsageMistake(f"{train.frames} frames can't be cut into {cfg.segments} segments",
                               "Raise train.frames or lower segments.")

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Clips in a random order each, and which it is."""
        clips = augment(Clips(batch.xyz, batch.valid), gen, self.cfg.view, batch.layout)
        target = torch.randint(len(self.orders), (len(batch),), generator=gen, device=batch.xyz.device)
        return shuffle(clips, self.orders[target]), target
