"""Northwestern-UCLA Multiview Action3D."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name

LEAK = ("all 50 a02 and 45 a03 clips of view 3 are bit-identical to those of view 2, so 95 test clips are "
        "also training clips")
SHARED = ("739 frames of subject 1's a08 and a09 are bit-identical in views 1 and 2, and a08_s01_e00_v01 lies whole "
          "inside a08_s01_e00_v02: about ten test clips have copied frames in training clips")
LEAKED_CLASSES = (1, 2)
"""Labels of a02 and a03."""


def _test_view(view: int, clean: bool = False) -> Callable[[Index], Masks]:
    def select(index: Index) -> Masks:
        test = index["view"] == view
        train = ~test
        if clean:
            test = test & ~np.isin(index["label"], LEAKED_CLASSES)
        return train, test

    return select


HELD_OUT = (2, 7)
"""Training subjects on which all choosing is done, in every split of this dataset."""

CARD = DatasetCard(
    name="nw-ucla",
    title="Northwestern-UCLA Multiview Action3D",
    layout="kinect_v1_20",
    persons=1,
    classes=("pick up with one hand", "pick up with two hands", "drop trash", "walk around", "sit down",
             "stand up", "donning", "doffing", "throw", "carry"),
    splits=by_name(
        Split("v3", "train on views 1 and 2, test on view 3: the split of every paper", _test_view(3),
              HELD_OUT, expected=(1020, 464), known_leak=LEAK, clean_twin="v3-clean"),
        Split("v3-clean", "v3 without the test clips of a02 and a03, which are copies of training clips",
              _test_view(3, clean=True), HELD_OUT, expected=(1020, 369)),
        Split("v2", "train on views 1 and 3, test on view 2", _test_view(2), HELD_OUT, expected=(980, 504),
              known_leak=LEAK, clean_twin="v2-clean"),
        Split("v2-clean", "v2 without the test clips of a02 and a03, which are copies of training clips",
              _test_view(2, clean=True), HELD_OUT, expected=(980, 409), known_leak=SHARED),
        Split("v1", "train on views 2 and 3, test on view 1", _test_view(1), HELD_OUT, expected=(968, 516),
              known_leak=SHARED),
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
