"""``crossclr-npy``: ``train_data.npy, train_label.pkl, val_data.npy, val_label.pkl`` of CrosSCLR, AimCLR and others.

Data are (N, 3, T, 25, 2), zero-padded or resized; labels are a pickled pair (names, labels from 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.importers.base import Importer, make_clip
from ssl_skel.data.importers.npy_stream import open_npy
from ssl_skel.data.importers.safe_pickle import Array, as_array, load
from ssl_skel.errors import BadData

PARTS = ("train", "val")


class CrossclrNpy(Importer):
    """Reads the four files of one split, which together are the whole dataset."""

    def clips(self, card: DatasetCard, files: list[Path]) -> Iterator[RawClip]:
        """Read the training and then the test clips."""
        for part in PARTS:
            data, labels = _pick(files, part, ".npy"), _pick(files, part, ".pkl")
            names, classes = _names(labels)
            with _open(data) as file:
                array = open_npy(file, data.name, data.stat().st_size)
                if len(array.shape) != 5 or array.shape[1] != 3 or array.shape[3:] != (25, 2):
                    raise BadData(f"{data.name}: shape {array.shape}, expected (N, 3, T, 25, 2)")
                if array.shape[0] != len(names):
                    raise BadData(f"{data.name}: {array.shape[0]} clips, but {len(names)} names in {labels.name}")
                for name, label, row in zip(names, classes, array.rows()):
                    yield make_clip(card, name, label, row.transpose(3, 1, 2, 0))


def _pick(files: list[Path], part: str, suffix: str) -> Path:
    """Find the one file of a part, e.g. ``train`` and ``.npy``."""
    found = [path for path in files if path.suffix == suffix and path.name.startswith(part)]
    if len(found) != 1:
        raise BadData(f"{len(found)} files named {part}*{suffix} given",
                      "Give train_data.npy, train_label.pkl, val_data.npy and val_label.pkl.")
    return found[0]


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadData(f"{path.name}: {error.strerror or error}") from None


def _names(path: Path) -> tuple[list[str], list[int]]:
    """Read names (without ``.skeleton``) and labels."""
    content = load(path)
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise BadData(f"{path.name}: not a pair of names and labels")
    names, labels = (as_array(part, path.name).tolist() if isinstance(part, Array) else part for part in content)
    if not isinstance(names, (list, tuple)) or not isinstance(labels, (list, tuple)) or len(names) != len(labels):
        raise BadData(f"{path.name}: not as many labels as names")
    if not all(isinstance(name, str) for name in names) or not all(isinstance(label, int) for label in labels):
        raise BadData(f"{path.name}: names that are no strings, or labels that are no whole numbers")
    return [Path(name).name.removesuffix(".skeleton") for name in names], list(labels)
