"""Northwestern-UCLA Multiview Action3D."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name

LEAK = ("all 50 a02 and 45 a03 clips of view 3 are bit-identical to those of view 2, so 95 test clips are "
        "also training clips")
SHARED = ("739 frames of subject 1's a08 and a09 are bit-identical in views 1 and 2: ten clips of view 2 and nine of "
          "view 1 have some, seven of them all their frames, in a clip of the other view")
LEAKED_CLASSES = (1, 2)
"""Labels of a02 and a03, copied between views 2 and 3."""

SHARED_CLASSES, SHARED_SUBJECT = (6, 7), 1
"""Labels of a08 and a09, and the performer whose views 1 and 2 share frames."""


def _test_view(view: int, clean: bool = False) -> Callable[[Index], Masks]:
    def select(index: Index) -> Masks:
        test = index["view"] == view
        train = ~test
        if clean and view in (2, 3):
            test = test & ~np.isin(index["label"], LEAKED_CLASSES)
        if clean and view in (1, 2):
            test = test & ~(np.isin(index["label"], SHARED_CLASSES) & (index["subject"] == SHARED_SUBJECT))
        return train, test

    return select


HELD_OUT = (2, 7)
"""Training subjects on which all choosing is done, in every split of this dataset."""


def _split(test: int, what: str, expected: tuple[int, int], leak: str = "") -> Split:
    """Train on two views, test on the third; the clean twin of a leaky split where no leak is named."""
    one, other = (view for view in (1, 2, 3) if view != test)
    rule = f"train on views {one} and {other}, test on view {test}"
    name, twin = (f"v{test}", f"v{test}-clean") if leak else (f"v{test}-clean", "")
    return Split(name, f"{rule}: {what}" if what else rule, _test_view(test, clean=not leak), HELD_OUT,
                 expected=expected, known_leak=leak, clean_twin=twin, disjoint_by="view")


CARD = DatasetCard(
    name="nw-ucla",
    title="Northwestern-UCLA Multiview Action3D",
    layout="kinect_v1_20",
    persons=1,
    classes=("pick up with one hand", "pick up with two hands", "drop trash", "walk around", "sit down",
             "stand up", "donning", "doffing", "throw", "carry"),
    splits=by_name(
        _split(3, "the split of every paper", (1020, 464), LEAK),
        _split(3, "v3 without the test clips of a02 and a03, which are copies of training clips", (1020, 369)),
        _split(2, "", (980, 504), f"{LEAK}; {SHARED}"),
        _split(2, "v2 without the test clips of a02 and a03, and without subject 1's a08 and a09", (980, 399)),
        _split(1, "", (968, 516), SHARED),
        _split(1, "v1 without the test clips of subject 1's a08 and a09", (968, 506)),
    ),
    reader="ssl_skel.data.readers.nw_ucla:NwUclaReader",
    source="the JSON files (folder all_sqe) that the CTR-GCN repository links to; original site "
           "https://wangjiangb.github.io/my_data.html",
    licence="no licence stated; not cleared for redistribution",
    terms="research use, cite the paper",
    citation="J. Wang, X. Nie, Y. Xia, Y. Wu, S.-C. Zhu: Cross-view Action Modeling, Learning and "
             "Recognition. CVPR 2014",
    notes=(LEAK, SHARED,
           "a02_s09_e04_v02 and _v03 have one frame",
           "six joints are at zero in a04_s01_e01_v01 and a04_s04_e02_v01",
           "ten of the paper's 1,494 clips have no skeleton in this version"),
)
