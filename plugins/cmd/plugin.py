"""CMD: three momentum contrasts that teach one another their neighbourhoods (arXiv 2208.12448)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, BackboneFactory, Batch, Layout
from ssl_skel.nn.heads import mlp
from ssl_skel.nn.losses import distribution_kl
from ssl_skel.nn.moco import MomentumContrast, Projected, QueuedTask
from ssl_skel.nn.streams import ModalTask, PairConfig, streamed
from ssl_skel.nn.views import Clips, Modality, Recipe, augment


class CMDConfig(PairConfig):
    """Keys of CMD.

    Attributes:
        streams: The modalities that teach one another.
        view: Of query and key; ISC's.
        queue: Keys that are kept of each.
        momentum: Of the key encoders.
        temperature: Of InfoNCE.
        projection: Size of the projections.
        teacher_temperature: Divides the teachers' cosines.
        student_temperature: Divides the students' cosines.
        topk: Neighbours over which distributions are compared, at most the queue.
        weight: Of the distillation.
    """

    streams: tuple[Modality, ...] = Field(("joint", "motion", "bone"), min_length=2)
    view: Recipe = Recipe(crop_resize=(0.1, 1.0), shear_or_corrupt=0.6)
    queue: int = Field(16384, ge=1)
    momentum: float = Field(0.999, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0)
    projection: int = Field(128, ge=1)
    teacher_temperature: float = Field(0.05, gt=0)
    student_temperature: float = Field(0.1, gt=0)
    topk: int = Field(8192, ge=1)
    weight: float = Field(1.0, ge=0)


class CMD(QueuedTask, ModalTask):
    """Cross-modal mutual distillation."""

    Config = CMDConfig

    def __init__(self, cfg: CMDConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.layout = cfg, layout
        self.nets = nn.ModuleDict({name: self._stream(streamed(backbone, name)) for name in cfg.streams})

    def _stream(self, encoder: Backbone) -> MomentumContrast:
        net = Projected(encoder, mlp(encoder.dim, encoder.dim, self.cfg.projection))
        return MomentumContrast(net, self.cfg.projection, self.cfg.queue, self.cfg.momentum, self.cfg.temperature)

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Two draws of the recipe, shared by the modalities."""
        clips = Clips(batch.xyz, batch.valid)
        return tuple(augment(clips, gen, self.cfg.view, batch.layout) for _ in range(2))

    def forward(self, views: tuple[Clips, Clips]) -> dict[str, Tensor]:
        """InfoNCE of each modality, and KL divergence from each teacher to each other modality's student."""
        contrast, student, teacher = [], {}, {}
        for name, net in self.nets.items():
            query, key = net.query(views[0], self.layout), net.key(views[1], self.layout)
            contrast.append(net.contrast(query, key))
            student[name], teacher[name] = net.similarity(query), net.similarity(key)
        distil = [self._distil(student[s], teacher[t]) for t in teacher for s in student if s != t]
        info, kl = torch.stack(contrast).sum(), torch.stack(distil).sum()
        return {"loss": info + self.cfg.weight * kl, "contrast": info.detach(), "distillation": kl.detach()}

    def _distil(self, student: Tensor, teacher: Tensor) -> Tensor:
        near, place = teacher.topk(self.cfg.topk, dim=1)
        return distribution_kl(student.gather(1, place), near, self.cfg.student_temperature,
                               self.cfg.teacher_temperature)

    def after_step(self, step: int, total: int) -> None:
        """Queue the keys, move the key encoders."""
        for net in self.nets.values():
            net.after_step()

    def encoders(self) -> dict[str, Backbone]:
        """One encoder for each modality."""
        return {name: net.net.encoder for name, net in self.nets.items()}
