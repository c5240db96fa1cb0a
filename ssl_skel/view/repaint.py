"""Input, masked input, repainted output and target of the reference method, side by side, a row a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_skel.view import draw, style
from ssl_skel.view.camera import Camera
from ssl_skel.view.colours import colour_streams
from ssl_skel.view.painter import Repainted
from ssl_skel.view.scene import Scene, head_down, upright

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, HEAD = 2.5, 0.98


def draw_repaint(scene: Scene, views: Any, painted: list[Repainted], config: Any, note: str) -> Figure:
    """Draw what an encoder saw and what was painted from its code.

    Args:
        scene: The clip.
        views: From `painter.paint`.
        painted: From `painter.paint`.
        config: Of the method.
        note: Who painted.

    Returns:
        A figure. Call inside `style.styled`.
    """
    from matplotlib.figure import Figure

    camera = Camera()
    hidden = int((views.valid & ~views.visible).sum())
    seen = scene.xyz[scene.valid]
    frame = draw.frame_of(camera.project(seen)[0])
    aspect = float(np.clip((frame[1] - frame[0]) / (frame[3] - frame[2]), 0.8, 1.6))
    columns = ["input", *(["masked"] if hidden else []), "repainted", "target"]
    width = len(columns) * PANEL * aspect + 0.3
    caption, note = style.wrap(scene.caption, width - 0.32), style.wrap(note, width - 0.32)
    head = HEAD + style.taller(caption) + style.taller(note)
    height = head + len(painted) * (PANEL + 0.1)
    figure = Figure(figsize=(width, height))
    style.headline(figure, f"Repainting: {scene.title}", caption)
    figure.text(0.16 / width, 1 - (0.63 + style.taller(caption)) / height, style.plain(note), size=9,
                color=style.QUIET, va="top")
    targets = {stream.name: stream for stream in colour_streams(scene.layout, scene.xyz.shape[1], config)}
    for row, one in enumerate(painted):
        for column, what in enumerate(columns):
            place = ((0.16 + column * PANEL * aspect) / width, 1 - (head + (row + 1) * (PANEL + 0.1) - 0.1) / height,
                     0.93 * PANEL * aspect / width, (PANEL - 0.25) / height)
            axes = figure.add_axes(place)
            axes.set_title(_title(what, one, hidden, int(views.valid.sum())), pad=2, size=9)
            draw.floor(axes, camera, seen)
            _paint(axes, camera, what, scene, views, one, targets[one.name].rgb)
            draw.prepare(axes, frame)
    return figure


def _title(what: str, one: Repainted, hidden: int, total: int) -> str:
    return {"input": "Input", "masked": f"Masked, {100 * hidden / total:.0f} % hidden",
            "repainted": f"Repainted, distance {one.distance:.2f}",
            "target": f"Target: {one.name.replace('-', ', ')}"}[what]


def _paint(axes: Axes, camera: Camera, what: str, scene: Scene, views: Any, one: Repainted, rgb: Any) -> None:
    if what == "repainted":
        raw, valid = views.xyz[0].numpy(), views.valid[0].numpy()
        points = upright(one.cloud[:, :3], scene.layout, head_down(raw, valid, scene.layout))
        draw.points(axes, camera, points, np.clip(one.cloud[:, 3:], 0, 1))
    elif what == "target":
        draw.points(axes, camera, scene.xyz[scene.valid], rgb[scene.valid])
    else:
        shown = views.visible[0].numpy() & scene.valid if what == "masked" else scene.valid
        draw.points(axes, camera, scene.xyz[scene.valid & ~shown], style.FAINT, size=4)
        draw.points(axes, camera, scene.xyz[shown], style.POINT, alpha=0.7)
