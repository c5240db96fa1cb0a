"""PKU-MMD part II: 1,009 shorter untrimmed videos, the harder part."""

from __future__ import annotations

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.class_names import PKU_MMD
from ssl_skel.data.datasets import pku_mmd_1
from ssl_skel.data.readers.pku import VIEWS

SCRIPTS = range(1, 27)
SUBJECTS = range(1, 14)
ABSENT = frozenset({"A05N04-M", "A07N12-M", "A08N12-M", "A14N12-M", "A20N01-M"})
XSUB_TEST = (2, 3, 7)
HELD_OUT = (6,)
"""Training subject on which all choosing is done, in every split of this dataset."""


def video_names() -> list[str]:
    """The videos that exist."""
    names = (f"A{script:02d}N{subject:02d}-{view}" for script in SCRIPTS for subject in SUBJECTS for view in VIEWS)
    return [name for name in names if name not in ABSENT]


def xsub(index: Index) -> Masks:
    """Subjects N02, N03 and N07 test."""
    test = np.isin(index["subject"], XSUB_TEST)
    return ~test, test


CARD = DatasetCard(
    name="pku-mmd-2",
    title="PKU-MMD part II",
    layout="kinect_v2_25",
    persons=2,
    classes=PKU_MMD,
    splits=by_name(
        Split("xsub", "cross-subject: N02, N03, N07 (234 of 1,009 videos) test", xsub, HELD_OUT,
              disjoint_by="subject"),
        Split("xview", "cross-view: views M and R train, L (338 of 1,009 videos) tests", pku_mmd_1.xview, HELD_OUT,
              disjoint_by="view"),
    ),
    reader="ssl_skel.data.readers.pku:Pku2Reader",
    source=pku_mmd_1.SOURCE,
    licence=pku_mmd_1.LICENCE,
    terms="cite the paper",
    citation=pku_mmd_1.CITATION,
    notes=("clips are rows [start:end] of a video, frames counted from 0, the end left out",
           "papers print 5,332 / 1,613 clips for xsub; the label files were not at hand to count them",
           "that the number after N is the performer follows from the cross-subject list"),
)
