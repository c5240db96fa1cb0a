"""NTU RGB+D: 60 actions, 40 subjects, 3 cameras."""

from __future__ import annotations

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.class_names import NTU_60

XSUB_TRAIN = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
XVIEW_TRAIN = (2, 3)
HELD_OUT = (9, 13, 28, 38)
"""Training subjects on which all choosing is done, in every split of this dataset."""

SOURCE = "https://rose1.ntu.edu.sg/dataset/actionRecognition (register, then the 3D skeletons archives)"
LICENCE = "released for academic research by ROSE Lab, Nanyang Technological University; no redistribution"
TERMS = "sign the release agreement; non-commercial research; cite the papers"
JOINT_NOTE = "joints of tracking state 1 (inferred) count as valid, those of state 0 do not"


def xsub(index: Index) -> Masks:
    """Twenty subjects train, the other twenty test."""
    train = np.isin(index["subject"], XSUB_TRAIN)
    return train, ~train


def xview(index: Index) -> Masks:
    """Cameras 2 and 3 train, camera 1 tests."""
    train = np.isin(index["view"], XVIEW_TRAIN)
    return train, ~train


CARD = DatasetCard(
    name="ntu60",
    title="NTU RGB+D",
    layout="kinect_v2_25",
    persons=2,
    classes=NTU_60,
    splits=by_name(
        Split("xsub", "cross-subject: 20 subjects train, 20 test", xsub, HELD_OUT, expected=(40091, 16487),
              disjoint_by="subject"),
        Split("xview", "cross-view: cameras 2 and 3 train, camera 1 tests", xview, HELD_OUT, expected=(37646, 18932),
              disjoint_by="view"),
    ),
    reader="ssl_skel.data.readers.ntu:Ntu60Reader",
    source=SOURCE,
    licence=LICENCE,
    terms=TERMS,
    citation="A. Shahroudy, J. Liu, T.-T. Ng, G. Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity "
             "Analysis. CVPR 2016",
    notes=("302 of the 56,880 recordings are on the official list of missing skeletons and are dropped", JOINT_NOTE,
           "every clip is also in NTU RGB+D 120: pretraining on one and testing on the other leaks"),
)
