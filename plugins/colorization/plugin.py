"""Skeleton Cloud Colorization and Masked Skeleton Cloud Repainting as a pretext task.

Joints of all frames and persons form one unordered cloud. For each colour stream an encoder sees the bare
points, some of them hidden, and a folding decoder repaints the complete cloud, places and colours (arXiv
2108.01959, arXiv 2304.08799; facts in README.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from ssl_skel.api import Backbone, BackboneFactory, Batch, Features, Layout, PretextTask
from ssl_skel.errors import SkelError
from ssl_skel.nn.chamfer import chamfer
from ssl_skel.nn.folding import FoldingConfig, FoldingNet

from .alignment import Alignment
from .colours import part_members
from .config import ColorizationConfig
from .masks import visible, whole_units
from .streams import Stream, aligned_colours, encoder_name, encoder_names, stream_colours, streams_of


@dataclass(frozen=True, slots=True)
class Repainting:
    """What a step works on.

    Attributes:
        xyz: (B, M, T, V, 3) positions.
        visible: (B, M, T, V) bool, points that the encoders see.
        valid: (B, M, T, V) bool, points of the target.
        layout: Of the clips.
    """

    xyz: Tensor
    visible: Tensor
    valid: Tensor
    layout: Layout


def fill_absent(xyz: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Put persons without a valid point at the origin, as real points, where someone else is present.

    Args:
        xyz: (B, M, T, V, 3).
        valid: (B, M, T, V) bool.

    Returns:
        Both, filled.
    """
    person = valid.any(3).any(2)
    fill = (~person & person.any(1, keepdim=True))[:, :, None, None]
    return xyz.masked_fill(fill[..., None], 0.0), valid | fill


class ZeroFilled(Backbone):
    """An encoder that was trained with absent persons at the origin, and goes on to see them there."""

    def __init__(self, inner: Backbone) -> None:
        nn.Module.__init__(self)
        self.inner, self.dim = inner, inner.dim

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        features: Features = self.inner(*fill_absent(xyz, valid), layout)
        return features


class Colorization(PretextTask):
    """Repaint colourised skeleton clouds.

    Args:
        cfg: Keys.
        backbone: Makes one encoder; called once for each encoder of the configuration.
        layout: Of the clips.

    Raises:
        SkelError: If the clips can't carry what the configuration asks for.
    """

    Config: ClassVar[type[BaseModel]] = ColorizationConfig
    members: Tensor

    def __init__(self, cfg: ColorizationConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.check(cfg, layout)
        self.cfg, self.streams = cfg, streams_of(cfg)
        self.encoder = nn.ModuleDict({name: backbone() for name in encoder_names(cfg)})
        dim = cast(Backbone, self.encoder[encoder_names(cfg)[0]]).dim
        sizes = FoldingConfig(hidden=cfg.decoder_hidden or dim, grid=cfg.grid_side, extent=cfg.grid_extent,
                              middle=cfg.fold1_channels)
        self.decoder = nn.ModuleDict({stream.name: FoldingNet(dim, sizes) for stream in self.streams})
        self.alignment = nn.ModuleDict({colour: Alignment(cfg.align, dim, cfg.projector_dim, cfg.temperature)
                                        for colour in aligned_colours(cfg)})
        self.register_buffer("members", part_members(layout, cfg.parts), persistent=False)

    @classmethod
    def check(cls, cfg: ColorizationConfig, layout: Layout) -> None:
        if "person" in cfg.streams and layout.persons < 2:
            raise SkelError("the person stream colours persons apart, and these clips hold one person",
                            "Leave 'person' out of streams.")
        units = {"joint": layout.num_joints, "part": cfg.parts}.get(cfg.mask)
        if units is not None and whole_units(units, cfg.mask_ratio) >= units:
            raise SkelError(f"mask {cfg.mask!r} with mask_ratio {cfg.mask_ratio} leaves none of {units} units",
                            "Lower mask_ratio.")

    @classmethod
    def stream_sets(cls, cfg: ColorizationConfig) -> tuple[tuple[str, ...], ...]:
        """Each encoder alone, the fine with the coarse encoder of each colour, and all together."""
        names = encoder_names(cfg)
        colours = [tuple(name for name in names if name.split("-")[0] == colour) for colour in cfg.streams]
        return tuple(dict.fromkeys([*((name,) for name in names), *colours, names]))

    def encoders(self) -> dict[str, Backbone]:
        inner = {name: cast(Backbone, net) for name, net in self.encoder.items()}
        if self.cfg.absent == "drop":
            return inner
        return {name: ZeroFilled(net) for name, net in inner.items()}

    def views(self, batch: Batch, gen: torch.Generator) -> Repainting:
        """Fill absent persons and draw the mask; all streams of a step share it."""
        xyz, valid = batch.xyz, batch.valid
        if self.cfg.absent == "zero":
            xyz, valid = fill_absent(xyz, valid)
        cfg = self.cfg
        seen = visible(valid, cfg.mask, cfg.mask_ratio, gen, self.members, cfg.mask_runs)
        return Repainting(xyz, seen, valid, batch.layout)

    def forward(self, views: Repainting) -> dict[str, Tensor]:
        """Return the ``loss``, its terms (one a stream, ``align-COLOUR`` unweighted) and ``empty_clips``."""
        present = views.valid.flatten(1).any(1)
        codes = {name: net(views.xyz, views.visible, views.layout).pooled
                 for name, net in self.encoder.items()}
        losses = {stream.name: self._repaint(stream, codes[encoder_name(stream, self.cfg)], views, present)
                  for stream in self.streams}
        for colour, align in self.alignment.items():
            losses[f"align-{colour}"] = align(codes[colour], codes[f"{colour}-coarse"], present)
        loss = sum(self._weight(name) * value for name, value in losses.items())
        logged = {name: value.detach() for name, value in losses.items()}
        return {"loss": cast(Tensor, loss), **logged, "empty_clips": (~present).sum()}

    def _weight(self, name: str) -> float:
        return self.cfg.align_weight if name.startswith("align-") else 1.0

    def _repaint(self, stream: Stream, code: Tensor, views: Repainting, present: Tensor) -> Tensor:
        """Chamfer distance between repainted and complete colourised cloud, mean over clips with a point."""
        cfg, cloud = self.cfg, views.xyz
        rgb = stream_colours(stream, cfg, cast(tuple[int, int, int], cloud.shape[1:4]), self.members)
        target = torch.cat([cloud, rgb.to(cloud.dtype).expand_as(cloud)], dim=-1).flatten(1, 3)
        painted = self.decoder[stream.name](code)
        distance = chamfer(painted, target, views.valid.flatten(1), reduction=cfg.chamfer,
                           squared=cfg.squared, colour_weight=cfg.rgb_weight)
        return distance * len(present) / present.sum().clamp(min=1)
