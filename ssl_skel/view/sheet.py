"""A contact sheet: a few clips of every class of a dataset, a row a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssl_skel.errors import BadData
from ssl_skel.view import draw, style
from ssl_skel.view.camera import Camera
from ssl_skel.view.scene import head_down, upright

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ssl_skel.data.dataset import Dataset

CELL, LABEL, HEAD = 1.15, 1.75, 0.78
POSES = 4
ROWS = 32
"""Classes in one column of the sheet; more stand beside one another."""


def draw_sheet(name: str, dataset: Dataset, clips: int) -> Figure:
    """Draw clips of every class, chosen evenly from all of its clips in the order of their names.

    Args:
        name: Of the dataset, with the suffix of a variant.
        dataset: Opened.
        clips: How many a class.

    Returns:
        A figure. Call inside `style.styled`.

    Raises:
        BadData: If the dataset has no clip with a valid joint.
    """
    from matplotlib.figure import Figure

    rows = [(label, chosen) for label in range(len(dataset.card.classes))
            if len(chosen := _chosen(dataset, label, clips))]
    if not rows:
        raise BadData(f"{name} holds no clip with a class")
    blocks = -(-len(rows) // ROWS)
    tall = -(-len(rows) // blocks)
    block = LABEL + clips * CELL
    width, height = 0.16 + blocks * block, HEAD + tall * CELL + 0.1
    figure = Figure(figsize=(width, height))
    index = dataset.store.index
    style.headline(figure, dataset.card.title, f"{name}: {len(index):,} clips of {len(rows)} classes; "
                                               f"{POSES} moments of each clip, the later the darker")
    for number, (label, chosen) in enumerate(rows):
        left, top = 0.16 + (number // tall) * block, HEAD + (number % tall) * CELL
        count = int((index["label"] == label).sum())
        _label(figure, left / width, 1 - (top + CELL / 2) / height, dataset.card.classes[label], f"{count} clips")
        for column, position in enumerate(chosen):
            place = ((left + LABEL + column * CELL) / width, 1 - (top + CELL) / height, CELL / width, CELL / height)
            draw_clip(figure.add_axes(place), dataset, position)
    return figure


def _chosen(dataset: Dataset, label: int, count: int) -> list[int]:
    """Positions of clips of a class, evenly spread."""
    where = np.flatnonzero(dataset.store.index["label"] == label)
    if not len(where):
        return []
    middle = (np.arange(count) + 0.5) * len(where) / count
    return [int(where[at]) for at in np.unique(middle.astype(int))]


def _label(figure: Figure, x: float, y: float, name: str, below: str) -> None:
    figure.text(x, y, style.plain(style.shortened([name], 24)[0]), va="bottom", weight="bold", size=8.5)
    figure.text(x, y, below, va="top", size=7.5, color=style.QUIET)


def draw_clip(axes: Axes, dataset: Dataset, position: int) -> None:
    """Draw a raw clip from where it was recorded, a few moments in one picture, the later the darker.

    Args:
        axes: Where.
        dataset: Opened.
        position: In the store's index.
    """
    clip, layout = dataset.store.clip(position), dataset.store.layout
    seen = upright(clip.xyz, layout, head_down(clip.xyz, clip.valid, layout))
    filled = np.flatnonzero(clip.valid.any(axis=(0, 2)))
    camera = Camera(turn=0.0, lift=8.0)
    style.bare(axes)
    if not len(filled):
        axes.text(0.5, 0.5, "no joint", ha="center", va="center", color=style.QUIET, transform=axes.transAxes)
        return
    moments = np.unique(filled[np.linspace(0, len(filled) - 1, POSES).round().astype(int)])
    for person in range(len(seen)):
        alone = len(seen) == 1
        draw.bones(axes, camera, seen[person, moments], clip.valid[person, moments], layout,
                   style.INK if alone else style.PERSONS[person % len(style.PERSONS)], width=1.0,
                   alpha=np.linspace(0.2, 1.0, len(moments)))
    shown = camera.project(seen[:, moments][clip.valid[:, moments]])[0]
    draw.prepare(axes, draw.frame_of(shown))
