"""Colour streams: which there are, which encoder each uses, and the target that each repaints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .colours import frame_colours, index_colours, joint_colours, person_colours, segment_colours
from .config import ColorizationConfig, Colour


@dataclass(frozen=True, slots=True)
class Stream:
    """One colour at one granularity.

    Attributes:
        colour: Temporal, spatial or person.
        coarse: Segments and body parts instead of frames and joints.
    """

    colour: Colour
    coarse: bool = False

    @property
    def name(self) -> str:
        """``temporal``, ``temporal-coarse``, ..."""
        return f"{self.colour}-coarse" if self.coarse else self.colour


def streams_of(cfg: ColorizationConfig) -> tuple[Stream, ...]:
    """All streams of a configuration, colour by colour, fine before coarse."""
    grains = {"fine": (False,), "coarse": (True,), "both": (False, True)}[cfg.granularity]
    return tuple(Stream(colour, coarse) for colour in cfg.streams
                 for coarse in ((False,) if colour == "person" else grains))


def encoder_name(stream: Stream, cfg: ColorizationConfig) -> str:
    """Name of the encoder of a stream; fine and coarse have one name where they share it."""
    shared = cfg.granularity == "both" and cfg.encoders == "shared"
    return stream.colour if shared else stream.name


def encoder_names(cfg: ColorizationConfig) -> tuple[str, ...]:
    """Names of all encoders, each once."""
    return tuple(dict.fromkeys(encoder_name(stream, cfg) for stream in streams_of(cfg)))


def aligned_colours(cfg: ColorizationConfig) -> tuple[Colour, ...]:
    """Colours whose fine and coarse codes come from two encoders and are pulled together."""
    if cfg.granularity != "both" or cfg.encoders == "shared" or cfg.align_weight == 0:
        return ()
    return tuple(colour for colour in cfg.streams if colour != "person")


def stream_colours(stream: Stream, cfg: ColorizationConfig, shape: tuple[int, int, int],
                   members: Tensor) -> Tensor:
    """Colours of every point of a cloud.

    Args:
        stream: Which colours.
        cfg: Numbers of segments and parts, coarse rule.
        shape: (M, T, V).
        members: (P, V) bool body parts, on the device of the cloud.

    Returns:
        (M, T, V, 3).
    """
    persons, frames, joints = shape
    if stream.colour == "person":
        rgb = person_colours(persons, members.device)[:, None, None]
    elif stream.colour == "temporal":
        rgb = (segment_colours(frames, cfg.segments, cfg.coarse_rule, members.device) if stream.coarse
               else frame_colours(frames, members.device))[None, :, None]
    else:
        rgb = (index_colours(members.to(torch.uint8).argmax(0), cfg.parts, cfg.coarse_rule) if stream.coarse
               else joint_colours(joints, members.device))[None, None]
    return rgb.expand(persons, frames, joints, 3)
