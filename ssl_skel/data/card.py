"""What the suite knows of a dataset without opening it: classes, splits, source, licence, reader.

A split is a pure function of the store's index, so it is fixed by the clips' names, views and subjects, and
can be asserted, hashed and shown without touching a coordinate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.errors import BadData, UnknownName

Index = NDArray[Any]
"""Structured array, one row a clip: name, frames, first_track, num_tracks, label, subject, view, setup,
repetition; sorted by name."""

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True)
class Parts:
    """A split applied to a store.

    Attributes:
        train: Positions in the index, ascending.
        test: Positions in the index, ascending.
        val: (len(train),) bool, True on held-out training subjects.
        support: Positions of labelled exemplars (one-shot), else empty.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    val: NDArray[np.bool_]
    support: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Split:
    """A named split.

    Attributes:
        name: E.g. ``v3``.
        description: One line.
        select: Index -> (train, test) boolean masks over its rows.
        held_out: Values of `held_out_by` among the training clips on which all choosing is done.
        held_out_by: Index column that `held_out` refers to.
        expected: Clips in (train, test) of the complete dataset; None where nobody knows.
        known_leak: What is wrong with the split, if anything.
        clean_twin: Split of the same training part without that leak.
        published: False for a split that must not stand beside published numbers; `description` says why.
        support: Index -> mask of the labelled exemplars of a one-shot split.
        disjoint_by: Index column of which training and test share no value, by the protocol ("" where it promises
            nothing of the kind); the audit holds the data to it.
    """

    name: str
    description: str
    select: Callable[[Index], Masks]
    held_out: tuple[int, ...]
    held_out_by: str = "subject"
    expected: tuple[int, int] | None = None
    known_leak: str = ""
    clean_twin: str = ""
    published: bool = True
    support: Callable[[Index], NDArray[np.bool_]] | None = None
    disjoint_by: str = ""

    def apply(self, index: Index) -> Parts:
        """Split a store.

        Raises:
            BadData: If a part is empty, or train and test share a clip.
        """
        train, test = self.select(index)
        if not train.any() or not test.any():
            raise BadData(f"split {self.name}: {int(train.sum())} training and {int(test.sum())} test clips")
        if (train & test).any():
            raise BadData(f"split {self.name}: clips in both training and test")
        positions = np.flatnonzero(train)
        val = np.isin(index[self.held_out_by][positions], self.held_out)
        support = np.flatnonzero(self.support(index)) if self.support else np.zeros(0, np.int64)
        return Parts(positions, np.flatnonzero(test), val, support)

    def is_complete(self, parts: Parts) -> bool:
        """Whether the parts have the size that the complete dataset gives."""
        return self.expected is None or (len(parts.train), len(parts.test)) == self.expected


@dataclass(frozen=True)
class DatasetCard:
    """A dataset as the registry knows it.

    Attributes:
        name: Registered name, e.g. ``nw-ucla``.
        title: Full name.
        layout: Layout name.
        persons: Largest number of persons in a clip.
        classes: Class names; a label is a position in it.
        splits: Name -> split.
        groups: Name -> splits that are run together and whose mean is reported, e.g. the folds of a
            cross-validation.
        same_recordings: Datasets of which clips of the same name are the same recordings, so that pretraining on one
            and testing on the other can leak.
        reader: ``module:Class`` of its `Reader`; "" where no raw files exist.
        generate: ``module:function`` that makes the store's clips where no raw files exist.
        source: Where to get it.
        licence: Licence note.
        terms: What one has to agree to or may not do.
        citation: Of the dataset paper.
        preprocessing: Default family.
        scale: Factor to metres, applied at load time.
        notes: Known defects, for `data show`.
    """

    name: str
    title: str
    layout: str
    persons: int
    classes: tuple[str, ...]
    splits: dict[str, Split]
    reader: str = ""
    generate: str = ""
    source: str = ""
    licence: str = ""
    terms: str = ""
    citation: str = ""
    preprocessing: str = "first-frame"
    scale: float = 1.0
    notes: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    same_recordings: tuple[str, ...] = ()

    def get_layout(self) -> Layout:
        """The joint layout, with this dataset's number of persons."""
        return get_layout(self.layout, self.persons)

    def get_split(self, name: str) -> Split:
        """Look a split up.

        Raises:
            UnknownName: If the dataset has no such split.
        """
        if name not in self.splits:
            raise UnknownName(f"split of {self.name}", name, [*self.splits, *self.groups])
        return self.splits[name]


def names_digest(*groups: Iterable[bytes]) -> str:
    """SHA-256 over groups of clip names, in order; a group's end counts.

    Args:
        groups: E.g. names of train, val and test.
    """
    hasher = hashlib.sha256()
    for group in groups:
        for name in group:
            hasher.update(name + b"\n")
        hasher.update(b"\0")
    return hasher.hexdigest()


def by_name(*splits: Split) -> dict[str, Split]:
    """Splits as the dict that a card holds."""
    return {split.name: split for split in splits}
