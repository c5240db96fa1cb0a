"""Arrays of joint positions as clips on a device, through the same store, checks and preprocessing as a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.layouts import Layout
from ssl_skel.data.loader import Clips, load_clips
from ssl_skel.data.memory import memory_store
from ssl_skel.data.preprocess import get_family
from ssl_skel.errors import BadData

Arrays = Sequence[NDArray[Any]] | NDArray[Any]
"""n clips, each (T, V, 3) or (M, T, V, 3): a sequence where lengths differ, else one array of 4 or 5 dimensions."""

_SHAPES = "Give a list of (T, V, 3) or (M, T, V, 3) arrays, or one array with the clips first."


def clips_of(arrays: Arrays, layout: Layout, preprocessing: str, frames: int, device: torch.device) -> Clips:
    """Check and preprocess clips.

    Args:
        arrays: Positions in metres; a joint with a NaN was not seen.
        layout: Joints; clips may have more persons than it says.
        preprocessing: Family.
        frames: T, to which every clip is resampled.
        device: Where batches are wanted.

    Raises:
        BadData: If there is no clip, or one has a wrong shape, an infinite coordinate, or nothing seen in it.
    """
    clips = list(_raw(arrays))
    if not clips:
        raise BadData("there is no clip to encode", _SHAPES)
    persons = max(layout.persons, *(len(clip.xyz) for clip in clips))
    card = DatasetCard("arrays", "Arrays", layout.name, persons, (), {})
    store = memory_store(card, clips, "arrays/1")
    return load_clips(store, np.arange(len(store)), get_family(preprocessing), frames=frames, device=device)


def _raw(arrays: Arrays) -> Iterator[RawClip]:
    for number, array in enumerate(arrays):
        try:
            xyz = np.array(array, np.float32)
        except (TypeError, ValueError) as error:
            raise BadData(f"clip {number} holds no numbers: {error}", _SHAPES) from None
        xyz = xyz[None] if xyz.ndim == 3 else xyz
        if xyz.ndim != 4 or xyz.shape[3] != 3:
            raise BadData(f"clip {number} has shape {np.shape(array)}, not (T, V, 3) or (M, T, V, 3)", _SHAPES)
        seen: NDArray[np.bool_] = np.logical_not(np.isnan(xyz).any(axis=3))
        xyz[~seen] = 0
        yield RawClip(f"clip-{number:09d}", xyz, seen, -1, 0)
