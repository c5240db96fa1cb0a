"""Keys of the method; README.md says which defaults are the paper's and which ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ssl_skel.api import TaskConfig

from .alignment import Form
from .colours import IndexRule
from .masks import Strategy

Colour = Literal["temporal", "spatial", "person"]


class ColorizationConfig(TaskConfig):
    """What is coloured, hidden and repainted.

    Attributes:
        streams: Colour streams; each has its own encoder and decoder.
        granularity: ``fine`` (a colour a frame, a joint), ``coarse`` (a segment, a body part), or ``both``,
            trained together. Persons have one granularity, which counts as fine.
        segments: Number of segments of the coarse temporal colours.
        parts: Number of body parts of the coarse spatial colours and of the mask strategy ``part``.
        coarse_rule: From the index of a segment or part to its position on the spectrum.
        encoders: Whether the fine and the coarse half of a stream have ``separate`` encoders or a ``shared``
            one, which leaves nothing to align.
        align: Form of the loss between fine and coarse codes.
        align_weight: Its weight; 0 trains the two side by side.
        projector_dim: Width of the projectors of ``align: infonce``.
        temperature: Of ``align: infonce``.
        mask: What the encoders do not see.
        mask_ratio: Share of each clip's valid points, frames, joints or parts that is hidden.
        mask_runs: Number of contiguous runs of ``mask: segment``.
        absent: A person without a valid point in a clip is left out (``drop``), or stands at the origin with
            all joints (``zero``), in the input and in the target.
        chamfer: The larger (``max``) or the ``sum`` of the two directed means.
        squared: Squared distances instead of distances.
        rgb_weight: Factor on the colour channels before distances are taken.
        grid_side: Side of the decoder's grid; it repaints grid_side^2 points.
        grid_extent: The grid spans [-grid_extent, grid_extent] in both directions.
        decoder_hidden: Width of the decoder's layers; None makes them as wide as the code.
        fold1_channels: What the first fold hands to the second: a coloured point (6) or only a place (3).
    """

    streams: tuple[Colour, ...] = Field(("temporal", "spatial"), min_length=1)
    granularity: Literal["fine", "coarse", "both"] = "fine"
    segments: int = Field(5, ge=1)
    parts: Literal[5, 10] = 5
    coarse_rule: IndexRule = "s/S"
    encoders: Literal["separate", "shared"] = "separate"
    align: Form = "mse"
    align_weight: float = Field(1.0, ge=0)
    projector_dim: int = Field(128, ge=1)
    temperature: float = Field(0.1, gt=0)
    mask: Strategy = "none"
    mask_ratio: float = Field(0.4, ge=0, lt=1)
    mask_runs: int = Field(1, ge=1)
    absent: Literal["drop", "zero"] = "zero"
    chamfer: Literal["max", "sum"] = "max"
    squared: bool = False
    rgb_weight: float = Field(1.0, ge=0)
    grid_side: int = Field(45, ge=2)
    grid_extent: float = Field(0.3, gt=0)
    decoder_hidden: int | None = Field(None, ge=1)
    fold1_channels: Literal[3, 6] = 6

    @model_validator(mode="after")
    def _distinct(self) -> ColorizationConfig:
        if len(set(self.streams)) < len(self.streams):
            raise ValueError("a colour stream is named twice")
        return self
