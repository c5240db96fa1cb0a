"""The contract of a dataset: a card that tells the truth, and splits that keep training and test apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ssl_skel.contract.subject import Skipped, Subject, require
from ssl_skel.data.card import DatasetCard, Parts, Split
from ssl_skel.data.dataset import Dataset, open_dataset
from ssl_skel.data.open import open_split
from ssl_skel.data.preprocess import get_family
from ssl_skel.data.readers.base import Reader
from ssl_skel.errors import DataMissing
from ssl_skel.registry import load_target


def dataset_is_one(subject: Subject) -> None:
    """The card carries its registered name, a known layout and preprocessing, and classes that differ."""
    card = subject.entry.load()
    require(isinstance(card, DatasetCard), f"{subject.entry.target} is no DatasetCard")
    require(card.name == subject.entry.name, f"its card says {card.name!r}, it is registered as {subject.entry.name!r}")
    card.get_layout()
    get_family(card.preprocessing)
    require(len(card.classes) > 1 and len(set(card.classes)) == len(card.classes), "its classes are not two or more "
            "different names")
    missing = [name for name in ("title", "source", "licence", "citation") if not getattr(card, name)]
    require(not missing, f"its card leaves {', '.join(missing)} empty")


def clips_have_an_origin(subject: Subject) -> None:
    """There is a reader of raw files, or a function that makes the clips."""
    card: DatasetCard = subject.entry.load()
    require(bool(card.reader) != bool(card.generate), "its card names not exactly one of reader and generate")
    found = load_target(card.reader or card.generate)
    if card.reader:
        require(isinstance(found, type) and issubclass(found, Reader), f"{card.reader} is no Reader")
        require(isinstance(found.version, int) and found.version >= 1, f"the reader's version is {found.version!r}")
    else:
        require(callable(found), f"{card.generate} is no function")


def splits_are_declared(subject: Subject) -> None:
    """Every split has a name, a description and held-out subjects; groups and clean twins name splits that exist."""
    card: DatasetCard = subject.entry.load()
    require(bool(card.splits), "it has no split")
    for name, split in card.splits.items():
        require(name == split.name, f"split {split.name!r} is listed as {name!r}")
        require(bool(split.description), f"split {name!r} has no description")
        require(bool(split.held_out), f"split {name!r} holds no training subject out, so nothing can be chosen")
    named = [*(name for group in card.groups.values() for name in group),
             *(split.clean_twin for split in card.splits.values() if split.clean_twin)]
    unknown = sorted(set(named) - set(card.splits))
    require(not unknown, f"its groups or twins name splits that do not exist: {', '.join(unknown)}")


def splits_keep_apart(subject: Subject) -> None:
    """In the data: parts are disjoint and complete, held-out clips are some of the training clips."""
    dataset = _open(subject)
    for split, parts in _parts(dataset):
        require(split.is_complete(parts), f"split {split.name!r} has {len(parts.train)} and {len(parts.test)} clips, "
                f"expected are {split.expected}")
        held = int(parts.val.sum())
        require(0 < held < len(parts.val), f"split {split.name!r}: {held} of {len(parts.val)} training clips are held "
                "out")
        if split.disjoint_by:
            values = dataset.store.index[split.disjoint_by]
            shared = sorted(set(values[parts.train].tolist()) & set(values[parts.test].tolist()))
            require(not shared, f"split {split.name!r}: training and test share {split.disjoint_by} {shared[:5]}")


def labels_are_classes(subject: Subject) -> None:
    """In the data: every label names a class, and every class occurs in every training part."""
    dataset = _open(subject)
    labels, classes = dataset.store.index["label"], dataset.card.classes
    outside = int(((labels < 0) | (labels >= len(classes))).sum())
    require(not outside, f"{outside} clips have a label outside 0..{len(classes) - 1}")
    for split, parts in _parts(dataset):
        counts = np.bincount(labels[parts.train], minlength=len(classes))
        absent = [name for name, count in zip(classes, counts) if not count]
        require(not absent, f"split {split.name!r} trains on no clip of {', '.join(absent[:3])}")


def clips_can_be_loaded(subject: Subject) -> None:
    """In the data: the first split opens, and its clips are finite and hold a valid joint."""
    dataset = _open(subject)
    view = open_split(dataset.card.name, next(iter(dataset.card.splits)), card=dataset.card, frames=8, incomplete=True)
    clips = view.train.clips
    batch = clips.batch(torch.linspace(0, len(clips) - 1, 32).long())
    require(bool(batch.xyz.isfinite().all()), "a coordinate is not finite after preprocessing")
    require(bool(batch.valid.flatten(1).any(1).all()), "a clip has no valid joint")


CHECKS = (dataset_is_one, clips_have_an_origin, splits_are_declared, splits_keep_apart, labels_are_classes,
          clips_can_be_loaded)


def _open(subject: Subject) -> Dataset:
    card: DatasetCard = subject.entry.load()
    try:
        return open_dataset(card.name, card=card)
    except DataMissing:
        raise Skipped(f"{card.name} is not prepared here; see `ssl-skel data prepare`") from None


def _parts(dataset: Dataset) -> Iterator[tuple[Split, Parts]]:
    for split in dataset.card.splits.values():
        yield split, split.apply(dataset.store.index)

