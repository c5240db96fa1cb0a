"""Methods that train one encoder for each modality (joint, bone, motion), independently of one another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import Backbone, BackboneFactory, Batch, Features, Layout, PretextTask, TaskConfig
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.views import Clips, Modality, Recipe, augment, modality

if TYPE_CHECKING:
    from ssl_skel.schema import TrainConfig

__all__ = ["Method", "ModalTask", "PairConfig", "StreamConfig", "StreamTask", "Streamed", "encode", "streamed"]


class StreamConfig(TaskConfig):
    """Keys of every method that trains on modalities.

    Attributes:
        streams: Modalities; each gets networks of its own, and its encoder its name.
    """

    streams: tuple[Modality, ...] = Field(("joint",), min_length=1)


class PairConfig(StreamConfig):
    """Keys of every method that compares two views of a clip.

    Attributes:
        view: Of both; the default is SkeletonCLR's normal augmentation.
    """

    view: Recipe = Recipe(shear=0.5, crop_pad=6)


class Streamed(Backbone):
    """A backbone that derives its modality from joints first.

    Args:
        inner: Sees the modality.
        name: Of the modality.
    """

    def __init__(self, inner: Backbone, name: Modality) -> None:
        nn.Module.__init__(self)
        self.inner, self.name, self.dim = inner, name, inner.dim

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Encode joints; see `Backbone`."""
        clips = modality(Clips(xyz, valid), layout, self.name)
        out: Features = self.inner(clips.xyz, clips.valid, layout)
        return out


def streamed(backbone: BackboneFactory, name: Modality) -> Backbone:
    """Make a backbone that takes joints and sees the modality `name`."""
    return backbone() if name == "joint" else Streamed(backbone(), name)


class Method(nn.Module):
    """What a method does on one modality.

    Args:
        cfg: The plugin's.
        backbone: Makes an encoder that takes joints.
        layout: Of the clips.
    """

    encoder: Backbone

    def __init__(self, cfg: Any, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, views: Any) -> dict[str, Tensor]:
        """Return a dict with a scalar ``loss``."""
        raise NotImplementedError

    def after_step(self, step: int, total: int) -> None:
        """Update what no gradient updates."""

    def embed(self, encoder: Callable[..., Features], clips: Clips) -> Tensor:
        """Encode clips to (B, D)."""
        return encode(encoder, clips, self.layout)


def encode(encoder: Callable[..., Features], clips: Clips, layout: Layout) -> Tensor:
    """Pooled vectors (B, D) of clips."""
    return encoder(clips.xyz, clips.valid, layout).pooled


class ModalTask(PretextTask):
    """Pretext task with one encoder for each modality in ``streams``."""

    Config: ClassVar[type[StreamConfig]] = PairConfig

    @classmethod
    def check_training(cls, cfg: Any, layout: Layout, train: TrainConfig) -> None:
        """Refuse a modality that these clips do not have."""
        super().check_training(cfg, layout, train)
        if "bone" in cfg.streams and not layout.bones:
            raise UsageMistake(f"layout {layout.name} has no bones for the stream 'bone'", "Leave it out of streams.")
        if "motion" in cfg.streams and train.frames < 2:
            raise UsageMistake("the stream 'motion' needs two frames or more", "Raise train.frames.")

    @classmethod
    def stream_sets(cls, cfg: Any) -> tuple[tuple[str, ...], ...]:
        """Each modality alone and, where there are several, all of them fused."""
        alone = tuple((name,) for name in cfg.streams)
        return alone if len(alone) == 1 else (*alone, tuple(cfg.streams))


class StreamTask(ModalTask):
    """Sum of a method's losses over modalities. A plugin names its `method` and, where it needs others, `views`."""

    method: ClassVar[type[Method]]

    def __init__(self, cfg: Any, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.layout = cfg, layout
        self.nets = nn.ModuleDict({
            name: self.method(cfg, partial(streamed, backbone, name), layout) for name in cfg.streams})

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Two draws of the recipe, shared by the modalities."""
        clips = Clips(batch.xyz, batch.valid)
        return tuple(augment(clips, gen, self.cfg.view, batch.layout) for _ in range(2))

    def forward(self, views: Any) -> dict[str, Tensor]:
        """Sum the losses; with several modalities what each logs carries its name."""
        outs = {name: net(views) for name, net in self.nets.items()}
        if len(outs) == 1:
            return dict(next(iter(outs.values())))
        logs = {f"{name}/{key}": value for name, out in outs.items() for key, value in out.items()}
        return {"loss": torch.stack([out["loss"] for out in outs.values()]).sum(), **logs}

    def after_step(self, step: int, total: int) -> None:
        """Update each modality."""
        for net in self.nets.values():
            net.after_step(step, total)  # type: ignore[operator]

    def encoders(self) -> dict[str, Backbone]:
        """One encoder for each modality."""
        return {name: net.encoder for name, net in self.nets.items()}  # type: ignore[misc]
