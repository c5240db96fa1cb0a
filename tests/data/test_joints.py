"""Joints of one layout in another: the tables by name, their chains and inverses, and clips shown through them."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from helpers.moving import Source
from ssl_skel.data.joints import NITE_TO_V1, NITE_TO_V2, TABLES, V1_TO_V2, joint_map
from ssl_skel.data.layouts import LAYOUTS, Layout, get_layout
from ssl_skel.data.mapped import MappedClips
from ssl_skel.errors import SkelError

PAIRS = list(permutations(LAYOUTS, 2))
ABSENT = {
    ("kinect_v2_25", "kinect_v1_20"): set(), ("kinect_v1_20", "nite_15"): set(), ("kinect_v2_25", "nite_15"): set(),
    ("kinect_v1_20", "kinect_v2_25"): {"neck", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"},
    ("nite_15", "kinect_v1_20"): {"hip_center", "left_wrist", "right_wrist", "left_ankle", "right_ankle"},
    ("nite_15", "kinect_v2_25"): {"base_of_spine", "neck", "left_wrist", "right_wrist", "left_ankle", "right_ankle",
                                  "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"},
}


@pytest.mark.parametrize("pair", PAIRS)
def test_each_table_says_which_joints_stand_for_which(pair: tuple[str, str]) -> None:
    clips, wanted = (get_layout(name) for name in pair)
    found = joint_map(clips, wanted)
    assert set(found.absent) == ABSENT[pair]
    assert len(found.source) == wanted.num_joints
    used = [place for place in found.source if place >= 0]
    assert len(set(used)) == len(used) == wanted.num_joints - len(found.absent)
    assert set(found.unused) == set(ABSENT[pair[::-1]])
    for joint, place in zip(wanted.joints, found.source, strict=True):
        assert place < 0 or clips.joints[place] == TABLES[pair][joint]


def test_joints_of_other_names_by_hand() -> None:
    assert (V1_TO_V2["hip_center"], V1_TO_V2["spine"], V1_TO_V2["shoulder_center"]) == (
        "base_of_spine", "middle_of_spine", "spine_shoulder")
    assert (NITE_TO_V1["neck"], NITE_TO_V1["torso"], NITE_TO_V1["left_hand"]) == (
        "shoulder_center", "spine", "left_hand")
    assert all(NITE_TO_V2[joint] == V1_TO_V2[through] for joint, through in NITE_TO_V1.items())
    assert len(NITE_TO_V2) == len(NITE_TO_V1)
    assert {key: value for key, value in V1_TO_V2.items() if key != value} == {
        "hip_center": "base_of_spine", "spine": "middle_of_spine", "shoulder_center": "spine_shoulder"}


@pytest.mark.parametrize("pair", PAIRS)
def test_left_stays_left_and_the_centre_the_centre(pair: tuple[str, str]) -> None:
    clips, wanted = (get_layout(name) for name in pair)
    source = joint_map(clips, wanted).source
    assert source[wanted.centre] == clips.centre
    assert tuple(source[joint] for joint in wanted.shoulders) == clips.shoulders
    for joint, place in enumerate(source):
        mirrored = source[wanted.mirror[joint]]
        assert mirrored == (clips.mirror[place] if place >= 0 else -1)
    for mine, theirs in zip(wanted.parts, clips.parts, strict=True):
        assert {source[joint] for joint in mine} - {-1} <= set(theirs)


def test_the_same_layout_is_shown_as_it_is() -> None:
    found = joint_map(get_layout("nite_15", 2), get_layout("nite_15", 1))
    assert found.source == tuple(range(15))
    assert not found.absent


def test_layouts_without_a_table_are_refused() -> None:
    other = Layout("one_joint", ("head",), (), ((0,),) * 5, ((0,),) * 10, (), 0, (0, 0))
    with pytest.raises(SkelError, match="no joint mapping from one_joint to nite_15"):
        joint_map(other, get_layout("nite_15"))
    with pytest.raises(SkelError, match="no joint mapping from nite_15 to one_joint"):
        joint_map(get_layout("nite_15"), other)


class Sampled(Source):
    """Clips that can also be sampled."""

    frames = 5

    def sample(self, index: torch.Tensor, frames: int, mode: str, gen: torch.Generator | None = None) -> object:
        return self.batch(index)


@pytest.mark.parametrize("pair", PAIRS)
def test_clips_are_shown_joint_by_joint(pair: tuple[str, str]) -> None:
    own, wanted = get_layout(pair[0], 2), get_layout(pair[1], 1)
    gen = torch.Generator().manual_seed(0)
    valid = torch.rand(3, 2, 5, own.num_joints, generator=gen) < 0.8
    xyz = torch.randn(3, 2, 5, own.num_joints, 3, generator=gen) * valid[..., None]
    shown = MappedClips(Sampled(xyz, valid, own), wanted)
    assert len(shown) == 3
    assert shown.layout == wanted.with_persons(2)
    for batch in (shown.batch(torch.tensor([2, 0])), shown.sample(torch.tensor([2, 0]), 5, "centred")):
        assert batch.layout == shown.layout
        assert batch.index.tolist() == [2, 0]
        for joint, place in enumerate(joint_map(own, wanted).source):
            if place < 0:
                assert not batch.valid[..., joint].any()
                assert not batch.xyz[..., joint, :].any()
            else:
                assert torch.equal(batch.valid[..., joint], valid[[2, 0]][..., place])
                assert torch.equal(batch.xyz[..., joint, :], xyz[[2, 0]][..., place, :])
