"""Test sets of one comparison: those that share clips are joined, so that no clip counts twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.ntu_names import NAME as NTU_NAME

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClipSet:
    """What two methods got right on one split.

    Attributes:
        dataset: Its name; names of clips are those of one dataset, except that NTU120 holds the clips of NTU60.
        clips: n names.
        a: (n,) share of seeds of which A is right.
        b: (n,) the same of B.
        subjects: (n,) performer ids, where they were asked for.
    """

    dataset: str
    clips: tuple[str, ...]
    a: Floats
    b: Floats
    subjects: Ints | None = None


@dataclass(frozen=True, slots=True)
class JoinedSet:
    """What two methods got right on test sets that share clips; attributes as in `ClipSet`, of the first of them."""

    dataset: str
    a: Floats
    b: Floats
    subjects: Ints | None = None

    @property
    def pair(self) -> tuple[Floats, Floats]:
        """(A is right, B is right)."""
        return self.a, self.b


def join_shared(sets: Sequence[ClipSet]) -> list[JoinedSet]:
    """Join test sets that share clips; each clip counts once, with its mean over the sets that hold it.

    Args:
        sets: Any number, in an order that says in which the result stands.

    Returns:
        The joined sets, which have no clip in common and may be resampled by themselves.
    """
    owner: dict[Hashable, int] = {}
    parent = list(range(len(sets)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for number, one in enumerate(sets):
        for key in _keys(one):
            first, second = sorted((root(owner.setdefault(key, number)), root(number)))
            parent[second] = first
    groups: dict[int, list[ClipSet]] = defaultdict(list)
    for number, one in enumerate(sets):
        groups[root(number)].append(one)
    return [_joined(group) for group in groups.values()]


def _keys(one: ClipSet) -> list[Hashable]:
    dataset = one.dataset.partition("+")[0]
    return [clip if NTU_NAME.fullmatch(clip) else (dataset, clip) for clip in one.clips]


def _joined(group: Sequence[ClipSet]) -> JoinedSet:
    if len(group) == 1:
        return JoinedSet(group[0].dataset, group[0].a, group[0].b, group[0].subjects)
    places: dict[Hashable, int] = {}
    where = np.array([places.setdefault(key, len(places)) for one in group for key in _keys(one)])
    count = np.bincount(where)
    a, b = (np.bincount(where, np.concatenate(values)) / count
            for values in ([one.a for one in group], [one.b for one in group]))
    known = [one.subjects for one in group if one.subjects is not None]
    if len(known) < len(group):
        return JoinedSet(group[0].dataset, a, b)
    subjects = np.zeros(len(count), np.int64)
    subjects[where] = np.concatenate(known)
    return JoinedSet(group[0].dataset, a, b, subjects)
