"""SBU Kinect Interaction: 8 interactions of two persons, 21 pairs of actors, five folds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name

FOLDS = ((1, 9, 15, 19), (5, 7, 10, 16), (2, 3, 20, 21), (4, 6, 8, 11), (12, 13, 14, 17, 18))
"""Pairs of actors (subject ids) that test in each fold."""

SIZES = ((227, 55), (230, 52), (226, 56), (228, 54), (217, 65))


def _fold(test_pairs: tuple[int, ...]) -> Callable[[Index], Masks]:
    def select(index: Index) -> Masks:
        test = np.isin(index["subject"], test_pairs)
        return ~test, test

    return select


def _splits() -> list[Split]:
    """One split a fold; all choosing is done on the first two pairs of the next fold."""
    splits = []
    for number, (pairs, expected) in enumerate(zip(FOLDS, SIZES), 1):
        held_out = FOLDS[number % len(FOLDS)][:2]
        what = f"cross-subject by pairs of actors: pairs {', '.join(map(str, pairs))} test, the others train"
        splits.append(Split(f"fold{number}", what, _fold(pairs), held_out, expected=expected,
                            disjoint_by="subject"))
    return splits


CARD = DatasetCard(
    name="sbu",
    title="SBU Kinect Interaction",
    layout="nite_15",
    persons=2,
    classes=("approaching", "departing", "kicking", "punching", "pushing", "hugging", "shaking hands", "exchanging"),
    splits=by_name(*_splits()),
    groups={"folds": tuple(split.name for split in _splits())},
    reader="ssl_skel.data.readers.sbu:SbuReader",
    source="https://www3.cs.stonybrook.edu/~kyun/research/kinect_interaction/ (clean version)",
    licence="no licence stated; not cleared for redistribution",
    terms="cite the paper",
    citation="K. Yun, J. Honorio, D. Chattopadhyay, T. L. Berg, D. Samaras: Two-person Interaction Detection Using "
             "Body-Pose Features and Multiple Instance Learning. CVPR Workshops 2012",
    notes=("the mean over the five folds is the number that papers report",
           "folds are disjoint in pairs of actors, not in actors: a test actor also trains, with another partner",
           "image coordinates (y down) are turned into metres (y up) by the reader"),
)
