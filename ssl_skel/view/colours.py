"""The colours of a skeleton cloud, as the reference method gives them to its decoder: its own code makes them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.layouts import Layout

METHOD = "colorization"


@dataclass(frozen=True)
class Coloured:
    """One colour stream of a cloud.

    Attributes:
        name: ``temporal``, ``temporal-coarse``, ...
        colour: ``temporal``, ``spatial`` or ``person``.
        coarse: Segments and body parts instead of frames and joints.
        rgb: (M, T, V, 3) float32 in [0, 1].
    """

    name: str
    colour: str
    coarse: bool
    rgb: NDArray[np.float32]


@lru_cache(maxsize=1)
def method() -> SimpleNamespace:
    """The modules of the reference method.

    Returns:
        ``task`` (its class), and its modules ``config``, ``streams`` and ``colours``.

    Raises:
        BrokenPlugin: If it can't be imported.
    """
    from ssl_skel.registry import discover

    task = discover().load("plugins", METHOD)
    package = task.__module__.rpartition(".")[0]
    return SimpleNamespace(task=task, **{name: importlib.import_module(f"{package}.{name}")
                                         for name in ("config", "streams", "colours")})


def colour_streams(layout: Layout, frames: int, config: Any = None) -> list[Coloured]:
    """Colour a cloud in every stream.

    Args:
        layout: Of the skeletons; the person stream is left out where it knows one person.
        frames: T.
        config: Of the method; default: all colours, fine and coarse.

    Returns:
        Fine before coarse, colour by colour.
    """
    code = method()
    if config is None:
        colours = ("temporal", "spatial", *(("person",) if layout.persons > 1 else ()))
        config = code.config.ColorizationConfig(streams=colours, granularity="both")
    members = code.colours.part_members(layout, config.parts)
    shape = (layout.persons, frames, layout.num_joints)
    return [Coloured(stream.name, stream.colour, stream.coarse,
                     code.streams.stream_colours(stream, config, shape, members).numpy().astype(np.float32))
            for stream in code.streams.streams_of(config)]
