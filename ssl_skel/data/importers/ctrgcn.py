"""``ctrgcn-npz``: ``NTU60_CS.npz`` and its like, as CTR-GCN, MAMP and their successors train on.

``x_train, x_test`` (N, T, 150) = two persons x 25 joints x 3, zero-padded, minus the middle of the spine of the
first person's first frame; ``y_train, y_test`` one-hot. The file has no names, but its order is known: clips are
grouped by performer (cross-subject), camera (cross-view) or setup (cross-setup), the groups in ascending order, and
sorted by name in each group. That gives every clip its name back, and each of the labels has to agree.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.card import DatasetCard, Split
from ssl_skel.data.clip import RawClip
from ssl_skel.data.importers.base import Importer, index_of_names, make_clip
from ssl_skel.data.importers.npy_stream import NpyStream, open_npy
from ssl_skel.data.ntu_names import usable_names
from ssl_skel.errors import BadData

MAX_CLIPS = 10**6
GROUP_OF = {"xsub": "subject", "xview": "view", "xset": "setup"}
PERSONS, JOINTS = 2, 25


class CtrgcnNpz(Importer):
    """Reads one file; it holds both parts of one split, which together are the whole dataset."""

    def clips(self, card: DatasetCard, files: list[Path]) -> Iterator[RawClip]:
        """Read the training and then the test clips."""
        if len(files) != 1:
            raise BadData(f"{len(files)} files given; format ctrgcn-npz takes one")
        with _open_zip(files[0]) as archive:
            labels = [_labels(archive, f"y_{part}", len(card.classes)) for part in ("train", "test")]
            split = _split_of_size(card, (len(labels[0]), len(labels[1])), files[0])
            for part, names, known in zip(("train", "test"), ordered_names(card, split), labels):
                with _member(archive, f"x_{part}") as array:
                    yield from _read_part(card, array, names, known)


def ordered_names(card: DatasetCard, split: Split) -> tuple[list[str], list[str]]:
    """Name the training and test clips of a split in the order of such a file."""
    names = usable_names(card.name)
    index = index_of_names(card, names)
    order = np.argsort(index[GROUP_OF[split.name]], kind="stable")
    train, test = split.select(index)
    return [names[i] for i in order if train[i]], [names[i] for i in order if test[i]]


def _split_of_size(card: DatasetCard, found: tuple[int, int], path: Path) -> Split:
    for split in card.splits.values():
        if split.name in GROUP_OF and split.expected == found:
            return split
    known = ", ".join(f"{split.name} {split.expected[0]}/{split.expected[1]}" for split in card.splits.values()
                      if split.name in GROUP_OF and split.expected)
    raise BadData(f"{path.name}: {found[0]}/{found[1]} training and test clips are no split of {card.name} ({known})",
                  "Clips of an incomplete file can't be named.")


def _read_part(card: DatasetCard, array: NpyStream, names: list[str], labels: NDArray[np.int64]) -> Iterator[RawClip]:
    if array.shape[0] != len(names) or len(array.shape) != 3 or array.shape[2] != PERSONS * JOINTS * 3:
        raise BadData(f"{array.name}: shape {array.shape}, expected ({len(names)}, T, {PERSONS * JOINTS * 3})")
    for name, label, row in zip(names, labels.tolist(), array.rows()):
        xyz = row.reshape(len(row), PERSONS, JOINTS, 3).swapaxes(0, 1)
        yield make_clip(card, name, label, xyz)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BadData(f"{path.name}: not an npz file ({error})") from None


@contextmanager
def _member(archive: zipfile.ZipFile, key: str) -> Iterator[NpyStream]:
    """Open an array of an npz file for streaming."""
    name = f"{Path(archive.filename or '').name}:{key}"
    try:
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as file:
            yield open_npy(file, name, info.file_size)
    except KeyError:
        raise BadData(f"{name}: no such array in the file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BadData(f"{name}: can't be unpacked ({error})") from None


def _labels(archive: zipfile.ZipFile, key: str, classes: int) -> NDArray[np.int64]:
    """Read one-hot labels (N, C) as class indices."""
    with _member(archive, key) as array:
        if len(array.shape) != 2 or array.shape[1] != classes or array.shape[0] > MAX_CLIPS:
            raise BadData(f"{array.name}: shape {array.shape}, expected one-hot labels of {classes} classes")
        labels = np.full(array.shape[0], -1, np.int64)
        for position, row in enumerate(array.rows()):
            if np.count_nonzero(row) != 1:
                raise BadData(f"{array.name}: row {position} is not one-hot")
            labels[position] = row.argmax()
    return labels
