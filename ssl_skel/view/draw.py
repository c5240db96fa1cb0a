"""Points, bones and floor on a pair of axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.view import style
from ssl_skel.view.camera import Camera, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ssl_skel.data.layouts import Layout

MARGIN = 0.06
"""Empty border around a scene, as a share of its larger side."""


def frame_of(*papers: Floats) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of what is drawn, with a border.

    Args:
        papers: (n, 2) projected points.
    """
    every = np.concatenate([paper.reshape(-1, 2) for paper in papers])
    low, high = every.min(axis=0), every.max(axis=0)
    pad = MARGIN * max(float((high - low).max()), 0.2)
    return float(low[0]) - pad, float(high[0]) + pad, float(low[1]) - pad, float(high[1]) + pad


def prepare(axes: Axes, frame: tuple[float, float, float, float]) -> None:
    """Set equal scales; the limits are those of `frame_of`, widened about their middle to the shape of the axes."""
    style.bare(axes)
    place, (width, height) = axes.get_position(), figure_size(axes)
    shape = (place.width * width) / (place.height * height)
    size = max((frame[1] - frame[0]) / shape, frame[3] - frame[2])
    x, y = (frame[0] + frame[1]) / 2, (frame[2] + frame[3]) / 2
    axes.set_xlim(x - size * shape / 2, x + size * shape / 2)
    axes.set_ylim(y - size / 2, y + size / 2)


def figure_size(axes: Axes) -> tuple[float, float]:
    """Width and height of the figure that holds the axes, in inches."""
    width, height = axes.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    return float(width), float(height)


def points(axes: Axes, camera: Camera, xyz: Floats, colours: Any, size: float = 7.0, alpha: float = 1.0) -> None:
    """Draw a cloud, what is nearer over what is farther.

    Args:
        axes: Where.
        camera: Who sees it.
        xyz: (n, 3).
        colours: (n, 3) in [0, 1], or one colour.
        size: Area of a point in square points.
        alpha: Opacity.
    """
    paper, distance = camera.project(xyz)
    order = np.argsort(-distance, kind="stable")
    chosen = colours[order] if isinstance(colours, np.ndarray) else colours
    axes.scatter(paper[order, 0], paper[order, 1], s=size, c=chosen, alpha=alpha, linewidths=0, zorder=3)


def bones(axes: Axes, camera: Camera, xyz: Floats, valid: NDArray[np.bool_], layout: Layout, colour: Any,
          width: float = 1.4, alpha: Any = 1.0) -> None:
    """Draw skeletons.

    Args:
        axes: Where.
        camera: Who sees it.
        xyz: (n, V, 3) skeletons.
        valid: (n, V) bool; a bone needs both its ends.
        layout: Bones.
        colour: Of all of them.
        width: In points.
        alpha: Opacity, or one for each skeleton.
    """
    from matplotlib.collections import LineCollection

    paper, _ = camera.project(xyz)
    ends = np.array(layout.bones)
    there = valid[:, ends].all(axis=2)
    lines = paper[:, ends][there]
    owner = np.nonzero(there)[0]
    if not len(owner):
        return
    opacity = alpha if isinstance(alpha, float) else np.asarray(alpha)[owner]
    axes.add_collection(LineCollection(list(lines), linewidths=width, capstyle="round", zorder=2,
                                       colors=[colour] * len(lines), alpha=opacity))


def floor(axes: Axes, camera: Camera, xyz: Floats, step: float = 0.5) -> Floats:
    """Draw a grid of half a metre below the feet.

    Args:
        axes: Where.
        camera: Who sees it.
        xyz: (n, 3) all valid points of the scene.
        step: Distance of the lines.

    Returns:
        (n, 2) ends of the lines, which the frame should hold.
    """
    from matplotlib.collections import LineCollection

    low, high = xyz.min(axis=0), xyz.max(axis=0)
    ground = float(low[2])
    spans = []
    for axis in (0, 1):
        middle = (float(low[axis]) + float(high[axis])) / 2
        cells = max(2, math.ceil((float(high[axis]) - float(low[axis]) + 0.3) / step))
        spans.append(middle + step * (np.arange(cells + 1) - cells / 2))
    lines = [[(x, spans[1][0], ground), (x, spans[1][-1], ground)] for x in spans[0]]
    lines += [[(spans[0][0], y, ground), (spans[0][-1], y, ground)] for y in spans[1]]
    paper, _ = camera.project(np.array(lines, np.float32))
    axes.add_collection(LineCollection(list(paper), colors=style.FAINT, linewidths=0.7, zorder=1))
    return paper.reshape(-1, 2)
