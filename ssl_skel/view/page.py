"""A clip as one HTML file: played, turned and coloured by mouse, finger or keyboard, without any network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ssl_skel.view.camera import Camera
from ssl_skel.view.colours import Coloured, colour_streams
from ssl_skel.view.legends import legend_of
from ssl_skel.view.scene import Scene

TEMPLATE = Path(__file__).parent / "clip.html"
_TITLES = {"temporal": "temporal", "spatial": "spatial", "person": "person", "temporal-coarse": "temporal, coarse",
           "spatial-coarse": "spatial, coarse"}


def render_page(scene: Scene) -> str:
    """Render a clip.

    Args:
        scene: The clip.

    Returns:
        HTML; every name in it is escaped, and its content security policy forbids any request.
    """
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        TEMPLATE.read_text(encoding="utf-8"))
    streams = colour_streams(scene.layout, scene.xyz.shape[1])
    return template.render(scene=scene, points=int(scene.valid.sum()), data=content(scene, streams),
                           streams=[(stream.name, _TITLES[stream.name]) for stream in streams]) + "\n"


def content(scene: Scene, streams: list[Coloured]) -> str:
    """What the page's script needs, as JSON that can stand inside a ``script`` element.

    Args:
        scene: The clip.
        streams: Its colours.

    Returns:
        Positions in whole millimetres, flat and in the order person, frame, joint; validity; bones; colours by stream.
    """
    persons, frames, joints = scene.valid.shape
    camera = Camera()
    data: dict[str, Any] = {
        "persons": persons, "frames": frames, "joints": joints, "turn": camera.turn, "lift": camera.lift,
        "xyz": np.rint(scene.xyz * 1000).astype(int).reshape(-1).tolist(),
        "valid": "".join("1" if good else "0" for good in scene.valid.reshape(-1).tolist()),
        "bones": [list(bone) for bone in scene.layout.bones],
        "streams": {stream.name: _stream(stream, scene) for stream in streams},
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _stream(stream: Coloured, scene: Scene) -> dict[str, Any]:
    """Colours as hexadecimal numbers; equal ones are listed once."""
    table, which = np.unique((stream.rgb * 255).round().astype(int).reshape(-1, 3), axis=0, return_inverse=True)
    legend = legend_of(stream, scene.layout)
    return {"table": [_hex(rgb) for rgb in table.tolist()], "which": which.reshape(-1).tolist(),
            "legend": [_hex(rgb) for rgb in (legend.rgb * 255).round().astype(int).tolist()],
            "names": list(legend.names), "scale": legend.scale}


def _hex(rgb: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
