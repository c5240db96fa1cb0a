"""PKU-MMD part I: 1,076 untrimmed videos, 51 actions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.class_names import PKU_MMD
from ssl_skel.data.readers.pku import VIEWS
from ssl_skel.errors import BadData

VIDEOS = range(2, 365)
ABSENT = frozenset({"0060-L", *(f"{video:04d}-{view}" for video in (247, 248, 249, 250) for view in VIEWS)})
XSUB_TEST = range(291, 335)
HELD_OUT = tuple(range(335, 365))
"""Videos on which all choosing is done. Performers are not published; the cross-subject test videos are one run
of numbers, so a run of numbers is the best guess at a subject-disjoint part."""

XVIEW_LIST = "SSL_SKEL_PKU1_XVIEW"
"""Environment variable that names the official ``cross-view.txt``."""

SOURCE = "https://www.icst.pku.edu.cn/struct/Projects/PKUMMD.html (skeletons and labels)"
LICENCE = "no licence stated; academic use; not cleared for redistribution"
CITATION = ("C. Liu, Y. Hu, Y. Li, S. Song, J. Liu: PKU-MMD: A Large Scale Benchmark for Continuous Multi-Modal Human "
            "Action Understanding. 2017")


def video_names() -> list[str]:
    """The videos that exist."""
    names = (f"{video:04d}-{view}" for video in VIDEOS for view in VIEWS)
    return [name for name in names if name not in ABSENT]


def xsub(index: Index) -> Masks:
    """Videos 0291 to 0334 test."""
    test = np.isin(index["subject"], XSUB_TEST)
    return ~test, test


def xview(index: Index) -> Masks:
    """Views M and R train, L tests."""
    test = index["view"] == 1
    return ~test, test


def parse_list(text: str) -> tuple[list[str], list[str]]:
    """Read training and test videos from a list in the official form.

    Args:
        text: A line that starts with "Training", names separated by commas, a line that starts with
            "Validat", names.

    Raises:
        BadData: If either part is missing.
    """
    match = re.fullmatch(r"\s*Train\w*[^:\n]*:(.*?)Valid\w*[^:\n]*:(.*)", text, re.DOTALL | re.IGNORECASE)
    if match is None:
        raise BadData("a split list without its training or validation part")
    train, test = (re.findall(r"[A-Z0-9]+-[LMR]", part) for part in match.groups())
    if not train or not test or set(train) & set(test):
        raise BadData("a split list with an empty part, or with a video in both parts")
    return train, test


def official_xview(path: Path) -> Split:
    """Make the published cross-view split from the official list.

    Raises:
        BadData: If the file can't be read, or is not a list of videos of part I.
    """
    try:
        train, test = parse_list(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"can't read {path} ({XVIEW_LIST}): {error}") from None
    unknown = sorted({*train, *test} - set(video_names()))
    if unknown:
        raise BadData(f"{path}: {unknown[0]} is not a video of PKU-MMD part I")

    def select(index: Index) -> Masks:
        video = np.array(index["name"].astype("S6"))
        return np.isin(video, np.array(train, "S6")), np.isin(video, np.array(test, "S6"))

    return Split("xview", f"cross-view by the official list {path.name}", select, HELD_OUT, disjoint_by="view")


def _xview() -> Split:
    if listed := os.environ.get(XVIEW_LIST):
        return official_xview(Path(listed))
    why = ("views M and R train, L tests; NOT the published split: its official list was not found, and the paper's "
           f"717/359 videos are not these 718/358. Set {XVIEW_LIST} to the official cross-view.txt")
    return Split("xview", why, xview, HELD_OUT, expected=(14372, 7173), published=False, disjoint_by="view")


CARD = DatasetCard(
    name="pku-mmd-1",
    title="PKU-MMD part I",
    layout="kinect_v2_25",
    persons=2,
    classes=PKU_MMD,
    splits=by_name(
        Split("xsub", "cross-subject: videos 0291 to 0334 (132 of 1,076) test", xsub, HELD_OUT,
              expected=(18841, 2704), disjoint_by="subject"),
        _xview(),
    ),
    reader="ssl_skel.data.readers.pku:Pku1Reader",
    source=SOURCE,
    licence=LICENCE,
    terms="cite the paper",
    citation=CITATION,
    notes=("clips are rows [start:end] of a video, frames counted from 0, the end left out",
           "performers are not published: the subject of a clip is the number of its video",
           "0043-L has a row from 4925 to 4036, read as 5036", "0133-M has a row of one frame (3458 to 3459)",
           "62 pairs of neighbouring rows overlap or touch, 28 are out of order; all are kept"),
)
