"""Momentum contrast (MoCo, arXiv 1911.05722): what every method with a key encoder and a queue is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.api import Backbone, Layout, PretextTask
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.losses import info_nce
from ssl_skel.nn.momentum import Momentum
from ssl_skel.nn.queue import Queue, check_queue
from ssl_skel.nn.streams import encode
from ssl_skel.nn.views import Clips

if TYPE_CHECKING:
    from ssl_skel.schema import TrainConfig

__all__ = ["MomentumContrast", "Projected", "QueuedTask", "mined_info_nce"]


class Projected(nn.Module):
    """An encoder and a head on its pooled vectors.

    Args:
        encoder: Takes clips.
        head: Takes (B, D).
    """

    def __init__(self, encoder: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, clips: Clips, layout: Layout) -> Tensor:
        """Encode and project clips."""
        out: Tensor = self.head(encode(self.encoder, clips, layout))
        return out


class MomentumContrast(nn.Module):
    """Query network, key network that follows it, queue of keys.

    Args:
        net: The query network.
        dim: Of its projections.
        queue: Keys that are kept.
        momentum: Of the key network.
        temperature: Divides the cosines.
    """

    def __init__(self, net: Projected, dim: int, queue: int, momentum: float, temperature: float) -> None:
        super().__init__()
        self.net, self.key_net, self.queue = net, Momentum(net), Queue(queue, dim)
        self.momentum, self.temperature = momentum, temperature
        self._fresh: list[Tensor] = []

    def query(self, clips: Clips, layout: Layout) -> Tensor:
        """Unit vectors (B, D) of the query network."""
        return F.normalize(self.net(clips, layout).float(), dim=1)

    def key(self, clips: Clips, layout: Layout) -> Tensor:
        """Unit vectors (B, D) of the key network; they join the queue after the step."""
        key = F.normalize(self.key_net(clips, layout).float(), dim=1)
        self._fresh.append(key)
        return key

    def contrast(self, query: Tensor, key: Tensor) -> Tensor:
        """InfoNCE of queries and their keys against the queue."""
        return info_nce(query, key, self.queue.rows, self.temperature)

    def similarity(self, vectors: Tensor) -> Tensor:
        """Cosines (B, K) of unit vectors with the queue."""
        with torch.autocast(vectors.device.type, enabled=False):
            return vectors.float() @ self.queue.rows.T

    def after_step(self) -> None:
        """Queue the keys of the step and move the key network."""
        self.queue.push(torch.cat(self._fresh))
        self._fresh.clear()
        self.key_net.update(self.net, self.momentum)


class QueuedTask(PretextTask):
    """Pretext task whose configuration has a ``queue`` and, where it mines neighbours in it, a ``topk``."""

    @classmethod
    def check_training(cls, cfg: Any, layout: Layout, train: TrainConfig) -> None:
        """Refuse a queue smaller than the batch, or than the neighbours that are looked for in it."""
        super().check_training(cfg, layout, train)
        check_queue(cfg.queue, train.batch)
        if getattr(cfg, "topk", 0) > cfg.queue:
            raise UsageMistake(f"topk = {cfg.topk} neighbours among a queue of {cfg.queue}", "Lower topk.")


def mined_info_nce(logits: Tensor, positives: Tensor) -> Tensor:
    """InfoNCE with several positives: mean log-probability of those that are marked.

    Args:
        logits: (B, 1 + K), the key in column 0.
        positives: (B, K) bool, queue entries that count as positives too.

    Returns:
        Scalar mean over rows.
    """
    marks = torch.cat([torch.ones_like(positives[:, :1]), positives], 1).to(logits.dtype)
    log_prob = F.log_softmax(logits, dim=1)
    return -((log_prob * marks).sum(1) / marks.sum(1)).mean()
