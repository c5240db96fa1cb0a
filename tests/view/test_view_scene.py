"""How clips are stood up and seen: nothing is mirrored, lengths stay, the right hand is where the camera sees it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_skel.data.dataset import open_dataset
from ssl_skel.data.layouts import LAYOUTS
from ssl_skel.errors import UsageMistake
from ssl_skel.view.camera import ABOVE, Camera
from ssl_skel.view.draw import frame_of
from ssl_skel.view.scene import find_clip, head_down, load_batch, make_scene, upright

LAYOUT = LAYOUTS["kinect_v1_20"]


@pytest.fixture(scope="module")
def synthetic():
    return open_dataset("synthetic")


@pytest.mark.parametrize("down", [False, True])
def test_standing_up_is_a_rotation(down):
    axes = upright(np.eye(3, dtype=np.float32), LAYOUT, down)
    assert np.allclose(axes @ axes.T, np.eye(3))
    # Recorded axes are left-handed to a viewer who stands at the camera: x to the left, y up, z away.
    assert np.linalg.det(axes) == pytest.approx(np.linalg.det(upright(np.eye(3), LAYOUT, False)))


def test_head_below_feet_is_noticed():
    xyz, valid = np.zeros((1, 2, 20, 3), np.float32), np.ones((1, 2, 20), bool)
    xyz[..., LAYOUT.joints.index("head"), 1] = 1.7
    assert not head_down(xyz, valid, LAYOUT)
    assert head_down(-xyz, valid, LAYOUT)
    valid[..., LAYOUT.joints.index("head")] = False
    assert not head_down(-xyz, valid, LAYOUT)


def test_the_right_arm_that_swings_is_on_the_viewers_left(synthetic):
    index = synthetic.store.index
    position = int(np.flatnonzero(index["label"] == synthetic.card.classes.index("swing right arm"))[0])
    scene = make_scene("synthetic", synthetic, position, load_batch(synthetic, position, frames=12))
    joints = scene.layout.joints
    right, left = scene.xyz[0, 0, joints.index("right_shoulder")], scene.xyz[0, 0, joints.index("left_shoulder")]
    head, foot = scene.xyz[0, 0, joints.index("head")], scene.xyz[0, 0, joints.index("left_foot")]
    assert head[2] > foot[2] + 1
    spread = scene.xyz[0].std(axis=0).sum(axis=1)
    assert spread[joints.index("right_hand")] > 2 * spread[joints.index("left_foot")]
    assert right[0] < left[0]
    assert scene.caption.startswith(f"synthetic, clip {scene.clip}, subject ")


def test_clips_are_found_by_name_and_by_number(synthetic):
    names = synthetic.store.names
    assert find_clip(synthetic, names[7]) == 7
    assert find_clip(synthetic, "7") == 7
    with pytest.raises(UsageMistake, match=f"no clip '{names[7]}x'. Did you mean '{names[7]}'"):
        find_clip(synthetic, names[7] + "x")
    with pytest.raises(UsageMistake, match=f"{len(names)} clips are named like '{names[0]}'"):
        find_clip(synthetic, "99999")


@given(turn=st.floats(-360, 360), lift=st.floats(-90, 90), seed=st.integers(0, 99))
def test_projection_keeps_lengths(turn, lift, seed):
    points = np.random.default_rng(seed).normal(size=(5, 3))
    paper, distance = Camera(turn, lift).project(points)
    assert np.allclose(np.linalg.norm(np.concatenate([paper, distance[:, None]], 1), axis=1),
                       np.linalg.norm(points, axis=1))


def test_what_is_up_is_up_and_from_above_what_is_away_is_up():
    up, away, right = np.eye(3)[2], np.eye(3)[1], np.eye(3)[0]
    assert Camera(0, 0).project(up)[0].tolist() == [0, 1]
    assert Camera(0, 0).project(right)[0].tolist() == [1, 0]
    assert Camera(0, 0).project(away)[1] == 1
    assert np.allclose(ABOVE.project(away)[0], [0, 1])
    assert np.allclose(ABOVE.project(up)[0], [0, 0])
    quarter = Camera(90, 0).project(away)[0]
    assert math.isclose(quarter[0], 1)


def test_a_frame_holds_what_is_drawn():
    left, right, bottom, top = frame_of(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[-1.0, 2.0]]))
    assert left < -1
    assert right > 2
    assert bottom < 1
    assert top > 3
