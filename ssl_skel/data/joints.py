"""Which joint of one layout is which of another, so that an encoder can be shown clips of other skeletons.

Two tables, by name, are all there is: 25 joints to 20, and 20 to 15. The others are their inverses and their chain.
A joint that the clips do not have is left without a source and stands as invalid, which every backbone honours; a
joint that the encoder does not know is left out. Nothing is interpolated.

The chain is anatomical where names differ: shoulders hang on ``spine_shoulder``, ``shoulder_center`` and ``neck``, so
these are one joint. NiTE's ``hand`` and ``foot`` are the Kinect's of the same name, not wrist and ankle: relative to
the distance from neck to hip, forearm and shank of SBU (to 15 joints' hand and foot) measure 0.63 and 0.93, those of
NW-UCLA 0.65 and 0.90 to hand and foot, 0.50 and 0.78 to wrist and ankle (medians).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ssl_skel.data.layouts import KINECT_V1_20, KINECT_V2_25, NITE_15, Layout
from ssl_skel.errors import SkelError

VERSION = 1
"""Raised with every change of a table: it can change the numbers of a transfer."""

_LIMBS = tuple(f"{side}_{joint}" for side in ("left", "right")
               for joint in ("shoulder", "elbow", "hand", "hip", "knee", "foot"))

V1_TO_V2: Mapping[str, str] = {
    "hip_center": "base_of_spine", "spine": "middle_of_spine", "shoulder_center": "spine_shoulder", "head": "head",
    **{joint: joint for joint in (*_LIMBS, "left_wrist", "right_wrist", "left_ankle", "right_ankle")},
}
"""Joint of ``kinect_v1_20`` -> joint of ``kinect_v2_25``, which also has a neck, tips of the hands and thumbs."""

NITE_TO_V1: Mapping[str, str] = {"head": "head", "neck": "shoulder_center", "torso": "spine",
                                 **{joint: joint for joint in _LIMBS}}
"""Joint of ``nite_15`` -> joint of ``kinect_v1_20``, which also has a hip centre, wrists and ankles."""


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {value: key for key, value in table.items()}


def _chain(first: Mapping[str, str], then: Mapping[str, str]) -> dict[str, str]:
    return {key: then[value] for key, value in first.items() if value in then}


NITE_TO_V2 = _chain(NITE_TO_V1, V1_TO_V2)
"""Joint of ``nite_15`` -> joint of ``kinect_v2_25``."""

_V2, _V1, _NITE = KINECT_V2_25.name, KINECT_V1_20.name, NITE_15.name
TABLES: Mapping[tuple[str, str], Mapping[str, str]] = {
    (_V2, _V1): V1_TO_V2, (_V1, _NITE): NITE_TO_V1, (_V2, _NITE): NITE_TO_V2,
    (_V1, _V2): _inverse(V1_TO_V2), (_NITE, _V1): _inverse(NITE_TO_V1), (_NITE, _V2): _inverse(NITE_TO_V2),
}
"""(layout of the clips, layout of the encoder) -> joint of the encoder -> joint of the clips."""


@dataclass(frozen=True)
class JointMap:
    """How clips of one layout are shown in another.

    Attributes:
        source: For each joint of the wanted layout, the joint of the clips that stands for it, -1 where none does.
        absent: Names of the wanted joints that the clips do not have.
        unused: Names of the clips' joints that are left out.
    """

    source: tuple[int, ...]
    absent: tuple[str, ...]
    unused: tuple[str, ...]


def joint_map(clips: Layout, wanted: Layout) -> JointMap:
    """Map the joints of clips to those of another layout; the identity where both are the same.

    Args:
        clips: Layout that the clips have.
        wanted: Layout that they are to be shown in.

    Raises:
        SkelError: If there is no table for the two.
    """
    if clips.name == wanted.name:
        return JointMap(tuple(range(wanted.num_joints)), (), ())
    table = TABLES.get((clips.name, wanted.name))
    if table is None:
        raise SkelError(f"there is no joint mapping from {clips.name} to {wanted.name}",
                        f"Mappings exist between {', '.join(sorted({name for pair in TABLES for name in pair}))}.")
    source = tuple(clips.joints.index(table[joint]) if joint in table else -1 for joint in wanted.joints)
    return JointMap(source, tuple(joint for joint, place in zip(wanted.joints, source, strict=True) if place < 0),
                    tuple(joint for place, joint in enumerate(clips.joints) if place not in source))
