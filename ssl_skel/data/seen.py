"""Whether a dataset shows the joints that a preprocessing family goes by; from a few clips, without torch.

A layout has all joints of a skeleton, a recording need not: where the joints that turn a clip are never tracked, a
family that turns clips leaves them as they are, and its name says something that did not happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ssl_skel.data.families import NOTES
from ssl_skel.data.layouts import Layout
from ssl_skel.data.store import Store

SAMPLED = 32
"""Clips that are looked at, evenly spread over the store; a joint that none of them shows counts as never tracked."""


class Need(NamedTuple):
    """What a family goes by.

    Attributes:
        joints: That have to be seen in one frame of a person.
        without: What happens where they are not.
        instead: Whether that still is of the kind that the family promises.
    """

    joints: Callable[[Layout], tuple[int, ...]]
    without: str
    instead: bool


def _centre(layout: Layout) -> tuple[int, ...]:
    return (layout.centre,)


def _root(layout: Layout) -> tuple[int, ...]:
    return (layout.root,)


_FIRST_MEAN = Need(_centre, "it subtracts the mean of the joints seen in the first frame instead", True)
NEEDS: dict[str, tuple[Need, ...]] = {
    "first-frame": (_FIRST_MEAN,),
    "per-frame": (Need(_centre, "it would centre the first frame only", False),),
    "per-body": (Need(lambda layout: layout.shoulders, "it would turn nothing", False),
                 Need(_root, "it subtracts the mean of the joints seen in a frame instead", True)),
    "view-aligned": (Need(lambda layout: (layout.centre, *layout.shoulders), "it would turn nothing", False),),
    "body-aligned": (Need(lambda layout: (layout.root, *layout.shoulders), "it would turn nothing", False),
                     _FIRST_MEAN),
}
assert NEEDS.keys() == NOTES.keys()


def unusable(store: Store, family: str) -> str:
    """Why a family does not do what it promises on a store, in one line; empty where it does.

    Args:
        store: Open.
        family: A key of `families.NOTES`.
    """
    lacking = next((need for need in NEEDS[family] if not need.instead and not _shown(store, need)), None)
    if lacking is None:
        return ""
    others = [name for name in NOTES if not any(not n.instead and not _shown(store, n) for n in NEEDS[name])]
    either = f", or set the preprocessing to {' or '.join(others)}" if others else ""
    return f"{_said(store, family, lacking)}. Choose a layout whose joints the data has{either}."


def replaced(store: Store, family: str) -> str:
    """What a family does instead of what it says on a store, in one line; empty where it does what it says.

    Args:
        store: Open.
        family: A key of `families.NOTES`.
    """
    lacking = next((need for need in NEEDS[family] if need.instead and not _shown(store, need)), None)
    return _said(store, family, lacking) if lacking else ""


def unseen(store: Store) -> list[str]:
    """All that `unusable` and `replaced` say of a store, family by family."""
    return [line for family in NOTES for line in (unusable(store, family), replaced(store, family)) if line]


def _said(store: Store, family: str, need: Need) -> str:
    names = " and ".join(repr(store.layout.joints[joint]) for joint in need.joints(store.layout))
    return (f"{store.meta['dataset']}: {family} goes by {names} of {store.layout.name}, which no frame of the "
            f"{min(SAMPLED, len(store))} clips looked at shows; {need.without}")


def _shown(store: Store, need: Need) -> bool:
    """Whether one of some clips has a frame in which all these joints are valid."""
    mask = np.uint32(sum(1 << joint for joint in need.joints(store.layout)))
    for clip in np.unique(np.linspace(0, len(store) - 1, SAMPLED).astype(np.int64)):
        first, count = (int(store.index[clip][column]) for column in ("first_track", "num_tracks"))
        tracks = store.tracks[first:first + count]
        if not count:
            continue
        begin = int(tracks["offset"][0])
        bits = store.valid[begin:begin + int(tracks["length"].sum(dtype=np.int64))]
        if bool(((bits & mask) == mask).any()):
            return True
    return not len(store)
