"""DINO on skeletons: match a centred, sharpened momentum teacher's prototype scores (arXiv 2104.14294)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import BackboneFactory, Layout
from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.heads import PrototypeHead
from ssl_skel.nn.losses import dino, koleo
from ssl_skel.nn.momentum import Momentum, momentum_at
from ssl_skel.nn.streams import Method, PairConfig, StreamTask
from ssl_skel.nn.views import Clips, Recipe


class DINOConfig(PairConfig):
    """Keys of DINO.

    Attributes:
        view: Of both views.
        prototypes: Outputs of the head.
        hidden: Width of the head.
        bottleneck: Of the head.
        student_temperature: Divides the student's scores.
        teacher_temperature: Divides the teacher's scores.
        centre_momentum: Of the running mean of the teacher's scores.
        momentum: Of the teacher at the first step; it ends at 1.
        koleo: Weight of the term that spreads the student's vectors.
    """

    view: Recipe = Recipe(crop_resize=(0.5, 1.0), mirror=0.5, rotate_vertical=30, scale=(0.8, 1.2), axis_mask=0.5)
    prototypes: int = Field(4096, ge=2)
    hidden: int = Field(2048, ge=1)
    bottleneck: int = Field(256, ge=1)
    student_temperature: float = Field(0.1, gt=0)
    teacher_temperature: float = Field(0.04, gt=0)
    centre_momentum: float = Field(0.9, ge=0, lt=1)
    momentum: float = Field(0.994, ge=0, le=1)
    koleo: float = Field(0.1, ge=0)


class DINOStream(Method):
    """DINO on one modality."""

    centre: Tensor

    def __init__(self, cfg: DINOConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.encoder = cfg, backbone()
        self.head = PrototypeHead(self.encoder.dim, cfg.hidden, cfg.bottleneck, cfg.prototypes)
        self.teacher, self.teacher_head = Momentum(self.encoder), Momentum(self.head)
        self.register_buffer("centre", torch.zeros(cfg.prototypes))
        self._seen: list[Tensor] = []

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """Student scores of each view against teacher scores of the other."""
        pooled = [self.embed(self.encoder, view) for view in views]
        student = torch.stack([self.head(v) for v in pooled]).float()
        teacher = torch.stack([self.teacher_head(self.embed(self.teacher, view)) for view in views]).float()
        self._seen.append(teacher.mean((0, 1)))
        match = dino(student, teacher, self.centre, self.cfg.student_temperature, self.cfg.teacher_temperature)
        spread = torch.stack([koleo(v, gather=all_gather) for v in pooled]).mean()
        return {"loss": match + self.cfg.koleo * spread, "match": match.detach(), "koleo": spread.detach()}

    def after_step(self, step: int, total: int) -> None:
        """Move the teacher and the centre."""
        momentum = momentum_at(step, total, self.cfg.momentum)
        self.teacher.update(self.encoder, momentum)
        self.teacher_head.update(self.head, momentum)
        mean = all_gather(torch.stack(self._seen).mean(0)[None]).mean(0)
        self._seen.clear()
        self.centre.lerp_(mean, 1 - self.cfg.centre_momentum)


class DINO(StreamTask):
    """DINO."""

    Config = DINOConfig
    method = DINOStream
