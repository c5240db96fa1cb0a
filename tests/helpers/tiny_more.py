"""More tiny datasets: other skeletons and persons to transfer to, and splits on which protocols can't be run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.tiny import CARD, CLASSES, REPETITIONS, SUBJECTS
from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.clip import RawClip
from ssl_skel.data.layouts import get_layout
from ssl_skel.data.memory import memory_store
from ssl_skel.data.store import Store


def _clips(card: DatasetCard) -> Iterator[RawClip]:
    """Clips of random places, the joint that stands out says the class; as many persons as the card has."""
    rng, joints = np.random.default_rng(1), get_layout(card.layout).num_joints
    for label in range(CLASSES):
        for subject in range(1, SUBJECTS + 1):
            for repetition in range(REPETITIONS):
                xyz = rng.normal(size=(card.persons, 6, joints, 3)) * 0.1
                xyz[:, :, label] += 1.0
                yield RawClip(f"m{label}_s{subject}_e{repetition}", xyz.astype(np.float32),
                              np.ones((card.persons, 6, joints), bool), label, subject, 1, 0, repetition)


def make(card: DatasetCard) -> Store:
    """Make the store of one of these datasets."""
    return memory_store(card, _clips(card), "tiny-more/1")


def _by_subject(index: Index) -> Masks:
    test = index["subject"] == SUBJECTS
    return ~test, test


def _other_subject(index: Index) -> Masks:
    test = index["subject"] == 1
    return ~test, test


def _absent_class(index: Index) -> Masks:
    train, test = _by_subject(index)
    return train & (index["label"] != 1), test


def _one_test_clip(index: Index) -> Masks:
    train, test = _by_subject(index)
    return train, test & (index["label"] == 0) & (index["repetition"] == 0)


def _one_subject(index: Index) -> Masks:
    train, test = _by_subject(index)
    return train & (index["subject"] == 1), test


def _one_shot(index: Index) -> Masks:
    novel = index["label"] > 0
    return ~novel, novel & ~_exemplars(index)


def _exemplars(index: Index) -> NDArray[np.bool_]:
    return (index["label"] > 0) & (index["subject"] == 1) & (index["repetition"] == 0)


def _card(name: str, layout: str, persons: int, **more: Any) -> DatasetCard:
    return DatasetCard(
        name=name, title=name, layout=layout, persons=persons, classes=CARD.classes,
        splits=by_name(
            Split("xsub", "subject 4 is the test", _by_subject, held_out=(3,)),
            Split("other", "subject 1 is the test", _other_subject, held_out=(3,)),
            Split("absent-class", "class two does not train", _absent_class, held_out=(3,)),
            Split("one-clip", "one test clip", _one_test_clip, held_out=(3,)),
            Split("one-shot", "classes two and three are novel", _one_shot, held_out=(3,), support=_exemplars),
            Split("one-subject", "subject 1 trains alone", _one_subject, held_out=())),
        groups={"both": ("xsub", "other")}, generate="helpers.tiny_more:make", **more)


CARD_20 = _card("tiny-20", "kinect_v1_20", 2)
CARD_25 = _card("tiny-25", "kinect_v2_25", 1)
TWIN = _card("tiny-twin", "kinect_v1_20", 2, same_recordings=("tiny-20",))

DATASETS = {"tiny": {"target": "helpers.tiny:CARD"}, "absent": {"target": "helpers.tiny:ABSENT"},
            **{card.name: {"target": f"helpers.tiny_more:{attribute}"}
               for attribute, card in (("CARD_20", CARD_20), ("CARD_25", CARD_25), ("TWIN", TWIN))}}
"""What a workshop registers: ``Workshop(tmp_path, datasets=DATASETS)``."""
