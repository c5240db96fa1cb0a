"""Joint layouts: names, bones, body parts and left/right pairs of 15-, 20- and 25-joint skeletons.

Indices are 0-based. Sources: the NTU RGB+D paper (25 joints), the Kinect v1 SDK order (20) and the NiTE order
(15); bone lists as used by Uason-Chen/CTR-GCN for 25 and 20 joints, derived by hand for 15.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssl_skel.errors import UnknownName


@dataclass(frozen=True, slots=True)
class Layout:
    """What a task or backbone may know of the skeletons in a batch.

    Attributes:
        name: Registered name, e.g. ``kinect_v2_25``.
        joints: Joint names, in file order; their number is V.
        bones: (child, parent) pairs forming a tree whose only parentless joint is `root`.
        parts: Five body parts (torso, left arm, right arm, left leg, right leg) as joint indices.
        parts10: Ten body parts (each limb in upper and lower half, head, trunk).
        mirror_pairs: (left, right) joint pairs.
        centre: Joint that translation normalisation subtracts (the spine).
        shoulders: (left, right) shoulder joints, used to align the view.
        up: Axis index that points up (or down) in the recorded coordinates.
        persons: Largest number of persons M in a clip of the dataset.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    parts: tuple[tuple[int, ...], ...]
    parts10: tuple[tuple[int, ...], ...]
    mirror_pairs: tuple[tuple[int, int], ...]
    centre: int
    shoulders: tuple[int, int]
    up: int = 1
    persons: int = 1

    @property
    def num_joints(self) -> int:
        """V, the number of joints."""
        return len(self.joints)

    @property
    def root(self) -> int:
        """The joint without a parent."""
        return next(iter(set(range(self.num_joints)) - {child for child, _ in self.bones}))

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of each joint; the root is its own parent."""
        table = dict(self.bones)
        return tuple(table.get(joint, joint) for joint in range(self.num_joints))

    @property
    def mirror(self) -> tuple[int, ...]:
        """Permutation of the joints that swaps left and right."""
        table = list(range(self.num_joints))
        for left, right in self.mirror_pairs:
            table[left], table[right] = right, left
        return tuple(table)

    def with_persons(self, persons: int) -> Layout:
        """The same skeleton for clips of up to `persons` persons."""
        return replace(self, persons=persons)


_LIMBS_20 = ("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")


def _four(kind: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{side}_{joint}" for side in ("left", "right") for joint in kind)


KINECT_V2_25 = Layout(
    name="kinect_v2_25",
    joints=("base_of_spine", "middle_of_spine", "neck", "head", *_four(_LIMBS_20[0]), *_four(_LIMBS_20[1]),
            "spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
    bones=((0, 1), (1, 20), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9), (11, 10),
           (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18), (21, 22), (22, 7),
           (23, 24), (24, 11)),
    parts=((0, 1, 2, 3, 20), (4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24), (12, 13, 14, 15), (16, 17, 18, 19)),
    parts10=((2, 3), (0, 1, 20), (4, 5), (6, 7, 21, 22), (8, 9), (10, 11, 23, 24), (12, 13), (14, 15),
             (16, 17), (18, 19)),
    mirror_pairs=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24)),
    centre=1,
    shoulders=(4, 8),
)

KINECT_V1_20 = Layout(
    name="kinect_v1_20",
    joints=("hip_center", "spine", "shoulder_center", "head", *_four(_LIMBS_20[0]), *_four(_LIMBS_20[1])),
    bones=((0, 1), (1, 2), (3, 2), (4, 2), (5, 4), (6, 5), (7, 6), (8, 2), (9, 8), (10, 9), (11, 10), (12, 0),
           (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18)),
    parts=((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16, 17, 18, 19)),
    parts10=((2, 3), (0, 1), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13), (14, 15), (16, 17), (18, 19)),
    mirror_pairs=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
    centre=1,
    shoulders=(4, 8),
)

NITE_15 = Layout(
    name="nite_15",
    joints=("head", "neck", "torso", *_four(("shoulder", "elbow", "hand")), *_four(("hip", "knee", "foot"))),
    bones=((0, 1), (1, 2), (3, 1), (4, 3), (5, 4), (6, 1), (7, 6), (8, 7), (9, 2), (10, 9), (11, 10), (12, 2),
           (13, 12), (14, 13)),
    parts=((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14)),
    parts10=((0, 1), (2,), (3,), (4, 5), (6,), (7, 8), (9,), (10, 11), (12,), (13, 14)),
    mirror_pairs=((3, 6), (4, 7), (5, 8), (9, 12), (10, 13), (11, 14)),
    centre=2,
    shoulders=(3, 6),
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (KINECT_V2_25, KINECT_V1_20, NITE_15)}


def get_layout(name: str, persons: int = 1) -> Layout:
    """Look a layout up by name.

    Args:
        name: ``kinect_v2_25``, ``kinect_v1_20`` or ``nite_15``.
        persons: Largest number of persons in a clip.

    Raises:
        UnknownName: If no layout has that name.
    """
    if name not in LAYOUTS:
        raise UnknownName("layout", name, LAYOUTS)
    return LAYOUTS[name].with_persons(persons)
