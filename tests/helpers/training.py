"""A small task with everything that a training has, and jobs that train it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers.tiny import CARD, TinyNet
from ssl_skel.api import Backbone, PretextTask
from ssl_skel.curves import read_curves
from ssl_skel.data.open import open_split
from ssl_skel.runtime import Runtime
from ssl_skel.schema import TrainConfig
from ssl_skel.train import TrainJob, pretrain

VIEW = open_split("tiny", "xsub", card=CARD, frames=4)
OWNER = "0123456789abcdef"


class Task(PretextTask):
    """Predicts the mean position of a clip; has buffers, dropout, an update without gradients, and noise."""

    def __init__(self, norm: bool = True, dropout: float = 0.1, poison: int = 0) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.encoder = TinyNet(TinyNet.Config(norm=norm, dropout=dropout), VIEW.layout)
        self.head = nn.Linear(8, 3)
        self.register_buffer("centre", torch.zeros(3))
        self.poison, self.calls, self.noise = poison, 0, dropout > 0

    def views(self, batch: Any, gen: torch.Generator) -> Any:
        noise = torch.randn(batch.xyz.shape, generator=gen) if self.noise else 0.0
        return batch.xyz + 0.01 * noise, batch.valid

    def forward(self, views: Any) -> dict[str, Tensor]:
        self.calls += 1
        out = self.head(self.encoder(*views, VIEW.layout).pooled)
        loss = ((out - views[0].mean((1, 2, 3))) ** 2).mean()
        return {"loss": loss * math.nan if self.calls == self.poison else loss, "size": out.detach().abs().mean()}

    def after_step(self, step: int, total: int) -> None:
        self.centre += 0.1 * (self.head.bias.detach() - self.centre) + step / total

    def encoders(self) -> dict[str, Backbone]:
        return {"encoder": self.encoder}


def job(folder: Path, task: PretextTask | None = None, owner: str = OWNER, **kwargs: Any) -> TrainJob:
    folder.mkdir(parents=True, exist_ok=True)
    own = {key: kwargs.pop(key) for key in ("stop_after", "checkpoint_s", "stop", "progress") if key in kwargs}
    cfg = TrainConfig(**{"epochs": 2, "batch": 9, "frames": 4, "lr": 0.05, "ema": 0.9, "clip_grad": 1.0,
                         "warmup": 0.3, **kwargs})
    return TrainJob(owner, task or Task(), VIEW.train.clips, VIEW.train.names, cfg, 3, folder,
                    Runtime(torch.device("cpu")), **own)


def whole(folder: Path, **kwargs: Any) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """State and curve of an undisturbed training; EMA and all."""
    task, _ = pretrain(job(folder, **kwargs))
    return dict(task.state_dict()), read_curves(folder / "curves.jsonl")


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)
