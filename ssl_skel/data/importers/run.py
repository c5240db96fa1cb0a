"""From exchange files to a store whose name and digest say that its data came preprocessed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_skel.data.card import DatasetCard, Index
from ssl_skel.data.catalog import load_target
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.importers import FORMATS
from ssl_skel.data.importers.base import Importer
from ssl_skel.data.prepare import claim
from ssl_skel.data.store import Store
from ssl_skel.data.store_write import Packer, Report, assemble, finish_store, save_shard, writing
from ssl_skel.errors import BadData, DataMissing, UnknownName

SHARD_ROWS = 100_000
"""Rows (a person in a frame) that are held in memory: 30 MB of 25 joints."""


@dataclass(frozen=True)
class Imported:
    """Outcome of `import_dataset`.

    Attributes:
        store: The open store.
        splits: (name, training clips, test clips, as many as the complete dataset has) of each split.
    """

    store: Store
    splits: tuple[tuple[str, int, int, bool], ...]


def import_dataset(card: DatasetCard, fmt: str, files: list[Path], root: Path, *, incomplete: bool = False,
                   force: bool = False, progress: Callable[[int], None] | None = None) -> Imported:
    """Import a dataset; the store becomes ``root / "<dataset>+<format>"``.

    Args:
        card: Of the dataset.
        fmt: A key of `FORMATS`.
        files: To read.
        root: Data root.
        incomplete: Accept a dataset whose splits have not the known sizes.
        force: Replace a store of that name.
        progress: Told of clips as they are read.

    Raises:
        UnknownName: If there is no such format.
        BadData: If a file is not of that format and dataset, or the counts don't fit a split.
        DataMissing: If a file is absent.
        OutputError: If the output can't be written.
    """
    importer = _make_importer(card, fmt)
    for path in files:
        if not path.is_file():
            raise DataMissing(f"no file {path}")
    name = f"{card.name}+{fmt}"
    if (root / name).exists() and not force:
        raise BadData(f"{root / name} is there already", "Give --force to replace it.")
    with claim(root, name) as partial:
        try:
            with writing(partial):
                shutil.rmtree(partial)
                partial.mkdir()
            shards, report = _write_shards(importer.clips(card, files), card, partial, progress)
            report.files = len(files)
            folder = partial / "store"
            with writing(partial):
                folder.mkdir()
                assemble(shards, folder, card.get_layout().num_joints)
                splits = check_counts(card, np.load(folder / "index.npy"), incomplete)
                store = finish_store(folder, root / name, card, report, f"import:{fmt}", _describe(files), name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Imported(store, splits)


def _make_importer(card: DatasetCard, fmt: str) -> Importer:
    if fmt not in FORMATS:
        raise UnknownName("format", fmt, FORMATS)
    importer = load_target(FORMATS[fmt])()
    assert isinstance(importer, Importer)
    if card.name not in importer.datasets:
        raise BadData(f"format {fmt} can't be imported as {card.name}: its clips are known only for "
                      f"{' and '.join(importer.datasets)}",
                      f"Prepare {card.name} from its raw files (ssl-skel data prepare)." if card.reader else "")
    return importer


def _write_shards(clips: Iterator[RawClip], card: DatasetCard, folder: Path,
                  progress: Callable[[int], None] | None) -> tuple[list[Path], Report]:
    """Pack clips into shards of bounded size; the first bad clip ends the import."""
    layout, report = card.get_layout(), Report()
    shards: list[Path] = []
    packer = Packer()

    for clip in clips:
        check_clip(clip, layout)
        packer.add(clip)
        report.kept += 1
        if progress:
            progress(1)
        if packer.rows >= SHARD_ROWS:
            shards.append(_flush(packer, folder / f"{len(shards):06d}.npz", layout.num_joints))
            packer = Packer()
    shards.append(_flush(packer, folder / f"{len(shards):06d}.npz", layout.num_joints))
    return shards, report


def _flush(packer: Packer, path: Path, joints: int) -> Path:
    with writing(path):
        save_shard(path, packer, Report(), joints)
    return path


def check_counts(card: DatasetCard, index: Index, incomplete: bool) -> tuple[tuple[str, int, int, bool], ...]:
    """Compare the size of every split with the known one.

    Raises:
        BadData: If one differs, or is empty, and `incomplete` is not given.
    """
    found = []
    for split in card.splits.values():
        train, test = (int(mask.sum()) for mask in split.select(index))
        complete = split.expected in (None, (train, test))
        if not incomplete and not (complete and train and test):
            wanted = "{}/{}".format(*split.expected) if split.expected else "some of both"
            raise BadData(f"{card.name} {split.name}: {train}/{test} training and test clips, expected {wanted}",
                          "Give --incomplete to import it all the same; boards will not take it for complete.")
        found.append((split.name, train, test, complete))
    return tuple(found)


def _describe(files: list[Path]) -> dict[str, object]:
    sizes = [path.stat().st_size for path in files]
    listing = [[path.name, size] for path, size in zip(files, sizes)]
    return {"path": ", ".join(str(path.resolve()) for path in files), "files": len(files),
            "bytes": sum(sizes), "reader_version": 1, "policy": "as imported",
            "fingerprint": hashlib.sha256(json.dumps(listing).encode()).hexdigest()}
