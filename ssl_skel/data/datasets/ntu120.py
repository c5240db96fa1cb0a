"""NTU RGB+D 120: 120 actions, 106 subjects, 32 setups of 3 cameras; contains NTU RGB+D."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.class_names import NTU_120
from ssl_skel.data.datasets import ntu60

XSUB_TRAIN = (*ntu60.XSUB_TRAIN, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84,
              85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103)
HELD_OUT = (*ntu60.HELD_OUT, 46, 55, 74, 85, 98)
"""Training subjects on which all choosing is done, in every split of this dataset."""

NOVEL_ACTIONS = tuple(range(1, 120, 6))
"""The 20 classes of the one-shot protocol, from 1."""

EXEMPLARS = tuple(f"S{1 if action <= 60 else 18:03d}C003P008R001A{action:03d}" for action in NOVEL_ACTIONS)
"""The labelled clip of each novel class (list of the authors' README)."""


def xsub(index: Index) -> Masks:
    """53 subjects train, the other 53 test."""
    train = np.isin(index["subject"], XSUB_TRAIN)
    return train, ~train


def xset(index: Index) -> Masks:
    """Even setups train, odd setups test."""
    train = index["setup"] % 2 == 0
    return train, ~train


def exemplars(index: Index) -> NDArray[np.bool_]:
    """The labelled clips of the one-shot protocol."""
    return np.isin(index["name"], np.array(EXEMPLARS, index["name"].dtype))


def oneshot(index: Index) -> Masks:
    """The 100 other classes train; the clips of the novel classes test, but for the exemplars."""
    novel = np.isin(index["label"] + 1, NOVEL_ACTIONS)
    return ~novel, novel & ~exemplars(index)


CARD = DatasetCard(
    name="ntu120",
    title="NTU RGB+D 120",
    layout="kinect_v2_25",
    persons=2,
    classes=NTU_120,
    splits=by_name(
        Split("xsub", "cross-subject: 53 subjects train, 53 test", xsub, HELD_OUT, expected=(63026, 50919),
              disjoint_by="subject"),
        Split("xset", "cross-setup: even setups train, odd ones test (papers often misprint 54,471 training clips)",
              xset, HELD_OUT, expected=(54468, 59477), disjoint_by="setup"),
        Split("oneshot", "one exemplar of each of 20 novel classes; the other 100 classes train", oneshot, HELD_OUT,
              expected=(95001, 18924), support=exemplars, disjoint_by="label"),
    ),
    reader="ssl_skel.data.readers.ntu:NtuReader",
    source=ntu60.SOURCE,
    licence=ntu60.LICENCE,
    terms=ntu60.TERMS,
    citation="J. Liu, A. Shahroudy, M. Perez, G. Wang, L.-Y. Duan, A. C. Kot: NTU RGB+D 120: A Large-Scale Benchmark "
             "for 3D Human Activity Understanding. TPAMI 2020",
    notes=("535 of the 114,480 recordings are on the official list of missing skeletons and are dropped",
           ntu60.JOINT_NOTE, "every clip of NTU RGB+D is in it: pretraining on one and testing on the other leaks"),
    same_recordings=("ntu60",),
)
