"""Names, versions and notes of the preprocessing families, without torch; `preprocess` holds what they do."""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """What is said of a family.

    Attributes:
        version: Raised with every change that can change a number.
        what: What it does.
        used_by: Which papers' code does so.
    """

    version: int
    what: str
    used_by: str


NOTES: dict[str, Note] = {
    "first-frame": Note(
        1, "subtract the centre joint of the first valid frame of person 1 from everything; keeps the trajectory and "
           "the distance between persons",
        "MAMP, SkeletonMAE, STARS, CTR-GCN (translation only)"),
    "per-frame": Note(
        1, "subtract the centre joint of person 1 in each frame; loses its trajectory, keeps the distance",
        "centring of ISC, CMD, HiCo, PCM3 (which also turn the first frame to the axes)"),
    "per-body": Note(
        1, "subtract each body's root joint and turn its shoulders to the x axis, in each frame; loses trajectory, "
           "turning and the distance between persons",
        "CrosSCLR, AimCLR and their descendants"),
    "view-aligned": Note(
        1, "first-frame, then turn the clip about the vertical so that person 1's shoulders in its first frame lie "
           "along x",
        "the upright part of the first-frame rotation of ISC, CMD, HiCo, PCM3"),
    "body-aligned": Note(
        1, "first-frame, then turn the clip in space so that person 1's spine, averaged over the clip, points up and "
           "its shoulders lie along x",
        "the view-invariant axes of P&C and ST-GCN's pre-normalisation, averaged over the clip, not of one frame"),
}
