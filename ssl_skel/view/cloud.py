"""The skeleton cloud: plain, and in the colours that the reference method repaints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_skel.view import draw, style
from ssl_skel.view.camera import ABOVE, Camera
from ssl_skel.view.colours import Coloured, colour_streams
from ssl_skel.view.legends import draw_legend, legend_of
from ssl_skel.view.scene import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 2.6
"""Height of a panel in inches."""
LEGEND = 0.6
"""Height of what stands below it."""
HEAD = 0.74
POSES = 6
"""Skeletons that stand for the motion."""

Draw = Callable[["Axes", Camera], None]


@dataclass(frozen=True)
class Panel:
    """One picture of the figure.

    Attributes:
        title: What it shows.
        paint: Draws it.
        stream: Whose legend stands below.
        camera: Who sees it.
    """

    title: str
    paint: Draw
    stream: Coloured | None = None
    camera: Camera | None = None


def draw_cloud(scene: Scene, camera: Camera | None = None) -> Figure:
    """Draw a clip as skeletons, as a bare cloud and in each colour stream.

    Args:
        scene: The clip.
        camera: Who sees it.

    Returns:
        A figure; fine colours above, coarse ones below. Call inside `style.styled`.
    """
    from matplotlib.figure import Figure

    camera = camera or Camera()
    rows = _panels(scene)
    seen = scene.xyz[scene.valid]
    frame = draw.frame_of(camera.project(seen)[0])
    aspect = float(np.clip((frame[1] - frame[0]) / (frame[3] - frame[2]), 0.78, 1.4))
    columns = max(map(len, rows))
    width = columns * PANEL * aspect + 0.32
    height = HEAD + len(rows) * (PANEL + LEGEND)
    figure = Figure(figsize=(width, height))
    style.headline(figure, scene.title, f"{scene.caption}; {len(seen):,} points of {scene.xyz.shape[1]} frames")
    for row, panels in enumerate(rows):
        top = HEAD + row * (PANEL + LEGEND)
        for column, panel in enumerate(panels):
            left, share = (0.16 + column * PANEL * aspect) / width, PANEL * aspect / width
            axes = figure.add_axes((left, 1 - (top + PANEL) / height, share * 0.93, (PANEL - 0.22) / height))
            axes.set_title(panel.title, pad=3)
            _paint(axes, panel, scene, camera)
            if panel.stream is not None:
                below = figure.add_axes((left, 1 - (top + PANEL + LEGEND) / height, share * 0.93,
                                         (LEGEND - 0.08) / height))
                draw_legend(below, legend_of(panel.stream, scene.layout))
    return figure


def _paint(axes: Axes, panel: Panel, scene: Scene, camera: Camera) -> None:
    camera = panel.camera or camera
    seen = scene.xyz[scene.valid]
    grid = draw.floor(axes, camera, seen)
    panel.paint(axes, camera)
    draw.prepare(axes, draw.frame_of(camera.project(seen)[0], *([grid] if panel.camera else [])))


def _panels(scene: Scene) -> list[list[Panel]]:
    streams = colour_streams(scene.layout, scene.xyz.shape[1])
    fine = [_coloured(scene, stream) for stream in streams if not stream.coarse]
    coarse = [_coloured(scene, stream) for stream in streams if stream.coarse]
    persons: Sequence[Any] = (style.INK,)
    for stream in streams:
        if stream.colour == "person":
            persons = [tuple(rgb) for rgb in stream.rgb[:, 0, 0].tolist()]
            coarse.append(Panel("Persons, from above", _cloud(scene, stream.rgb), camera=ABOVE))
    return [[Panel("Skeleton cloud", _cloud(scene, None)), *fine],
            [Panel("Skeletons", _skeletons(scene, persons)), *coarse]]


def _coloured(scene: Scene, stream: Coloured) -> Panel:
    titles = {"temporal": "Temporal", "spatial": "Spatial", "person": "Person", "temporal-coarse": "Temporal, coarse",
              "spatial-coarse": "Spatial, coarse"}
    return Panel(titles[stream.name], _cloud(scene, stream.rgb), stream)


def _cloud(scene: Scene, rgb: Any) -> Draw:
    def paint(axes: Axes, camera: Camera) -> None:
        _poses(scene, axes, camera, (style.FAINT,), 1.0, 1.0)
        colours = style.POINT if rgb is None else rgb[scene.valid]
        draw.points(axes, camera, scene.xyz[scene.valid], colours, alpha=0.6 if rgb is None else 1.0)
    return paint


def _skeletons(scene: Scene, colours: Sequence[Any]) -> Draw:
    def paint(axes: Axes, camera: Camera) -> None:
        _poses(scene, axes, camera, colours, 0.25, 1.5)
    return paint


def _poses(scene: Scene, axes: Axes, camera: Camera, colours: Sequence[Any], faintest: float, width: float) -> None:
    """Draw a few moments, the later the stronger, each person in its colour."""
    persons, frames, _ = scene.valid.shape
    moments = np.unique(np.linspace(0, frames - 1, POSES).round().astype(int))
    for person in range(persons):
        draw.bones(axes, camera, scene.xyz[person, moments], scene.valid[person, moments], scene.layout,
                   colours[person % len(colours)], width=width, alpha=np.linspace(faintest, 1.0, len(moments)))
