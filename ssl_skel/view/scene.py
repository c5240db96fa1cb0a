"""One clip as it is drawn: found by name, preprocessed, resampled, and stood upright in front of the viewer."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.dataset import Dataset
from ssl_skel.data.layouts import Layout
from ssl_skel.errors import UsageMistake

if TYPE_CHECKING:
    from ssl_skel.api import Batch

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A clip.

    Attributes:
        dataset: Its name.
        clip: Name of the clip.
        action: Class name.
        subject: Performer.
        view: Camera.
        frames: Recorded frames.
        layout: Joints and bones.
        xyz: (M, T, V, 3) float32 metres: to the right, away from the viewer, up.
        valid: (M, T, V) bool.
    """

    dataset: str
    clip: str
    action: str
    subject: int
    view: int
    frames: int
    layout: Layout
    xyz: Points
    valid: NDArray[np.bool_]

    @property
    def title(self) -> str:
        """What is done."""
        return self.action

    @property
    def caption(self) -> str:
        """Which clip it is."""
        return f"{self.dataset}, clip {self.clip}, subject {self.subject}, {self.frames} frames"


def find_clip(dataset: Dataset, name: str) -> int:
    """Position of a clip in the store's index.

    Args:
        dataset: Opened.
        name: Of the clip; a number that is no clip's name is a position, from 0.

    Raises:
        UsageMistake: If the dataset has no such clip; suggests the nearest name.
    """
    store = dataset.store
    place = int(np.searchsorted(store.index["name"], name.encode()))
    if place < len(store) and store.index["name"][place] == name.encode():
        return place
    if name.isdecimal() and int(name) < len(store):
        return int(name)
    raise UsageMistake(f"{dataset.card.name} has no clip {name!r}", _nearest(store.names, name))


def _nearest(names: list[str], name: str) -> str:
    """What was probably meant; names that begin alike are compared, as a whole dataset of them takes seconds."""
    alike = [other for other in names if other[:4].lower() == name[:4].lower()]
    near = difflib.get_close_matches(name, alike, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Its {len(names)} clips are named like {names[0]!r}; a position from 0 to {len(names) - 1} will do, too."


def load_batch(dataset: Dataset, position: int, *, frames: int, preprocessing: str = "") -> Batch:
    """Load a clip as the method sees it in evaluation, in recorded axes.

    Args:
        dataset: Opened.
        position: In the store's index.
        frames: T.
        preprocessing: Family; "" for the dataset's default.

    Returns:
        A batch of one.

    Raises:
        UnknownName: If there is no such family.
        UsageMistake: If the clip holds no valid joint.
    """
    import torch

    from ssl_skel.data.loader import load_clips
    from ssl_skel.data.preprocess import get_family

    store, card = dataset.store, dataset.card
    family = get_family(preprocessing or card.preprocessing)
    clips = load_clips(store, np.array([position]), family, scale=card.scale, frames=frames)
    batch = clips.batch(torch.tensor([0]))
    if not bool(batch.valid.any()):
        name = store.index[position]["name"].decode()
        raise UsageMistake(f"clip {name} of {card.name} holds no valid joint", "Choose another.")
    return batch


def make_scene(name: str, dataset: Dataset, position: int, batch: Batch) -> Scene:
    """Stand a clip upright.

    Args:
        name: Of the dataset, with the suffix of a variant.
        dataset: Opened.
        position: In the store's index.
        batch: From `load_batch`.
    """
    entry, store = dataset.store.index[position], dataset.store
    xyz, valid = batch.xyz[0].numpy(), batch.valid[0].numpy()
    down = head_down(xyz, valid, store.layout)
    seen = np.where(valid[..., None], upright(xyz, store.layout, down), 0).astype(np.float32)
    return Scene(name, entry["name"].decode(), dataset.card.classes[int(entry["label"])], int(entry["subject"]),
                 int(entry["view"]), int(entry["frames"]), store.layout, seen, valid)


def upright(xyz: Points, layout: Layout, down: bool) -> Points:
    """Turn recorded axes into those of the viewer, who stands where the camera stood.

    Recorded x grows to the right hand of a person who faces the camera, which the camera sees on its left. Where the
    vertical points down, the clip is turned about the line of sight, so that nothing is mirrored.

    Args:
        xyz: (..., 3) recorded.
        layout: Says which axis is vertical.
        down: From `head_down`.

    Returns:
        (..., 3): right, away, up.
    """
    up, side, away = layout.up, 0, 3 - layout.up
    sign = -1.0 if down else 1.0
    return np.stack([-sign * xyz[..., side], xyz[..., away], sign * xyz[..., up]], axis=-1).astype(np.float32)


def head_down(xyz: Points, valid: NDArray[np.bool_], layout: Layout) -> bool:
    """Whether the recorded vertical points down: heads lie below feet.

    Args:
        xyz: (..., V, 3) recorded.
        valid: (..., V) bool.
        layout: Names the head; the last joint of a leg is its foot.
    """
    feet = [part[-1] for part in layout.parts[3:]]
    heights = []
    for joints in ([layout.joints.index("head")], feet):
        chosen = xyz[..., joints, layout.up][valid[..., joints]]
        if not chosen.size:
            return False
        heights.append(float(chosen.mean()))
    return heights[0] < heights[1]
