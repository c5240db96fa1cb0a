"""What every importer does, and what a preprocessed array says of validity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.card import DatasetCard, Index
from ssl_skel.data.clip import RawClip
from ssl_skel.data.ntu_names import clip_fields
from ssl_skel.data.store import INDEX_DTYPE
from ssl_skel.errors import BadData


class Importer(ABC):
    """Reads files of one exchange format.

    Attributes:
        datasets: Those that it can name the clips of.
    """

    datasets: ClassVar[tuple[str, ...]] = ("ntu60", "ntu120")

    @abstractmethod
    def clips(self, card: DatasetCard, files: list[Path]) -> Iterator[RawClip]:
        """Read every clip, one at a time, never the whole file.

        Args:
            card: Of the dataset that the files are said to hold.
            files: As the user names them.

        Raises:
            BadData: With one line, if a file is not what it should be, or is of another dataset.
        """


def index_of_names(card: DatasetCard, names: Sequence[str]) -> Index:
    """Make the index columns that a split looks at from names alone.

    Args:
        card: Of the dataset.
        names: Clip names; the index keeps their order.

    Raises:
        BadData: If one is not a name of the dataset.
    """
    fields = [clip_fields(name, len(card.classes)) for name in names]  # refuses what is no name before it is encoded
    index = np.zeros(len(names), INDEX_DTYPE)
    index["name"] = [name.encode() for name in names]
    for column in ("label", "subject", "view", "setup", "repetition"):
        index[column] = [entry[column] for entry in fields]
    return index


def make_clip(card: DatasetCard, name: str, label: int, xyz: NDArray[Any]) -> RawClip:
    """Make a clip of a preprocessed array; its name says who, where and what.

    Exchange formats have no mask. A person is there in a frame if any of its numbers is not zero: centring puts
    single joints of a person at exactly zero, so those count as seen. Frames after the last person are padding.

    Args:
        card: Of the dataset.
        name: ``SsssCcccPpppRrrrAaaa``.
        label: That the file gives, from 0.
        xyz: (M, T, V, 3).

    Raises:
        BadData: If the label is not that of the name, or nobody is there.
    """
    fields = clip_fields(name, len(card.classes))
    if label != fields["label"]:
        raise BadData(f"{name}: label {label} in the file, {fields['label']} by its name")
    there = (xyz != 0).any(axis=(2, 3))
    if not there.any():
        raise BadData(f"{name}: every number is zero")
    frames = int(np.flatnonzero(there.any(axis=0))[-1]) + 1
    valid = np.repeat(there[:, :frames, None], xyz.shape[2], axis=2)
    return RawClip(name, xyz[:, :frames].astype(np.float32), valid, **fields)
