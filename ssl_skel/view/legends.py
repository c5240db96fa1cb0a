"""What the colours of a stream mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.layouts import Layout
from ssl_skel.view import style
from ssl_skel.view.colours import Coloured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = {5: ("torso", "left arm", "right arm", "left leg", "right leg"),
         10: ("head", "trunk", "left upper arm", "left forearm", "right upper arm", "right forearm", "left thigh",
              "left shin", "right thigh", "right shin")}


@dataclass(frozen=True)
class Legend:
    """Colours and their names.

    Attributes:
        rgb: (n, 3) colours.
        names: n names, or two: of the ends of a scale.
        scale: Whether the colours are a scale from one end to the other.
    """

    rgb: NDArray[np.float32]
    names: tuple[str, ...]
    scale: bool


def legend_of(stream: Coloured, layout: Layout) -> Legend:
    """Name a stream's colours.

    Args:
        stream: Whose colours.
        layout: Of the skeletons.
    """
    if stream.colour == "temporal":
        return Legend(stream.rgb[0, :, 0], ("first frame", "last frame"), True)
    if stream.colour == "person":
        names = tuple(f"person {number + 1}" for number in range(len(stream.rgb)))
        return Legend(stream.rgb[:, 0, 0], names, False)
    if not stream.coarse:
        names = tuple(layout.joints[joint].replace("_", " ") for joint in (0, -1))
        return Legend(stream.rgb[0, 0], names, True)
    parts = layout.parts if len(np.unique(stream.rgb[0, 0], axis=0)) == 5 else layout.parts10
    return Legend(stream.rgb[0, 0, [members[0] for members in parts]], PARTS[len(parts)], False)


def draw_legend(axes: Axes, legend: Legend) -> None:
    """Draw a legend into an empty strip."""
    style.bare(axes)
    if legend.scale:
        axes.imshow(legend.rgb[None], extent=(0.0, 1.0, 0.66, 0.84), aspect="auto", interpolation="nearest")
        for x, side, name in ((0.0, "left", legend.names[0]), (1.0, "right", legend.names[1])):
            axes.text(x, 0.54, name, ha=side, va="top", size=7.5, color=style.QUIET)
    else:
        _swatches(axes, legend)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _swatches(axes: Axes, legend: Legend, across: int = 3) -> None:
    for number, (colour, name) in enumerate(zip(legend.rgb, legend.names, strict=True)):
        x, y = 0.025 + number % across / across, 0.76 - 0.3 * (number // across)
        axes.scatter([x], [y], s=24, color=[colour], linewidths=0)
        axes.annotate(name, (x, y), xytext=(6, 0), textcoords="offset points", va="center", size=7.5,
                      color=style.QUIET)
