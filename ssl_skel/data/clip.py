"""One clip as a reader gives it, and the checks that every clip passes before it is stored."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.layouts import Layout
from ssl_skel.errors import BadData

NAME_BYTES = 40
MAX_ABS = 1e4
NAME_MARKS = "_ . - + @ # : ( )"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 _.\-+@#:()]*")
"""No markup, no separator of paths or columns, nothing that a shell or a spreadsheet takes for more than text."""


@dataclass(frozen=True, slots=True)
class RawClip:
    """A clip in the units of its dataset, before any preprocessing.

    Attributes:
        name: Unique in the dataset, ASCII letters, digits, spaces and some marks, at most 40 characters.
        xyz: (M, T, V, 3) float32 joint positions, persons in their final order.
        valid: (M, T, V) bool, False where the joint was not seen; what stands there in `xyz` is ignored.
        label: Class index from 0; -1 where unknown.
        subject: Performer id (of a pair of performers where the dataset splits by pairs).
        view: Camera or view id.
        setup: Recording setup or session id.
        repetition: Number of the repetition.
    """

    name: str
    xyz: NDArray[np.float32]
    valid: NDArray[np.bool_]
    label: int
    subject: int
    view: int = 0
    setup: int = 0
    repetition: int = 0


def check_clip(clip: RawClip, layout: Layout) -> None:
    """Refuse a clip that can't be stored.

    Args:
        clip: As read.
        layout: Of its dataset; `layout.persons` is the largest number of persons allowed.

    Raises:
        BadData: On a bad name, wrong shape, wrong joint count, too many persons, no frame, no valid joint, or
            a coordinate that is not finite (or beyond 10,000) in a valid joint.
    """
    if not clip.name.isascii() or not 0 < len(clip.name) <= NAME_BYTES:
        raise BadData(f"clip name {clip.name!r} is not 1 to {NAME_BYTES} ASCII characters")
    if not NAME.fullmatch(clip.name) or ".." in clip.name:
        raise BadData(f"clip name {clip.name!r} holds more than letters, digits, spaces and any of {NAME_MARKS}",
                      "Names stand in files, tables and pages: give the clip another one in the reader.")
    if clip.xyz.ndim != 4 or clip.xyz.shape[3] != 3 or clip.valid.shape != clip.xyz.shape[:3]:
        shapes = f"{clip.xyz.shape} and {clip.valid.shape}"
        raise BadData(f"{clip.name}: shapes {shapes} are not (M, T, V, 3) and (M, T, V)")
    persons, frames, joints, _ = clip.xyz.shape
    if joints != layout.num_joints:
        raise BadData(f"{clip.name}: {joints} joints, expected {layout.num_joints} ({layout.name})")
    if persons > layout.persons:
        raise BadData(f"{clip.name}: {persons} persons, at most {layout.persons} expected")
    if frames == 0 or not clip.valid.any():
        raise BadData(f"{clip.name}: empty clip ({frames} frames, no valid joint)")
    seen = clip.xyz[clip.valid]
    if not np.isfinite(seen).all():
        raise BadData(f"{clip.name}: NaN or infinite coordinates")
    if np.abs(seen).max() > MAX_ABS:
        raise BadData(f"{clip.name}: a coordinate beyond {MAX_ABS:g}")
