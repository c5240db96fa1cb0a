"""The body policy: each rule on a recording made for it."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.raw_ntu import standing
from ssl_skel.data.bodies import Body, select_persons


def body(name: str, start: int, xyz: np.ndarray) -> Body:
    return Body(name, np.arange(start, start + len(xyz)), xyz, np.ones(xyz.shape[:2], bool))


def rules(selection) -> list[tuple[str, str]]:
    return [(rule, name) for rule, name, _ in selection.dropped]


def test_one_body_is_kept_whatever_it_is():
    lying = standing(5, wide=True)
    chosen = select_persons([body("a", 2, lying)], 9)
    assert not chosen.dropped
    assert chosen.empty_frames == 4
    np.testing.assert_array_equal(chosen.xyz, lying[None])


@pytest.mark.parametrize(("frames", "kept"), [(11, 1), (12, 2)])
def test_a_body_of_eleven_frames_is_noise(frames, kept):
    chosen = select_persons([body("a", 0, standing(40)), body("b", 0, standing(frames, 1))], 40)
    assert len(chosen.xyz) == kept
    assert rules(chosen) == ([] if kept == 2 else [("body-short", "b")])


def test_the_longest_body_stays_if_all_are_short():
    chosen = select_persons([body("a", 0, standing(4)), body("b", 3, standing(6))], 9)
    assert rules(chosen) == [("body-short", "a")]
    assert chosen.xyz.shape[1] == 6
    assert chosen.empty_frames == 3


@pytest.mark.parametrize(("noisy", "kept"), [(69, 2), (70, 1)])
def test_a_body_wider_than_tall_in_most_frames_is_noise(noisy, kept):
    other = np.concatenate([standing(noisy, 1, wide=True), standing(100 - noisy, 1)])
    chosen = select_persons([body("a", 0, standing(100)), body("b", 0, other)], 100)
    assert len(chosen.xyz) == kept
    assert rules(chosen) == ([] if kept == 2 else [("body-spread", "b")])


def test_the_last_body_is_never_dropped_by_its_spread():
    wide = standing(30, 1, wide=True)
    chosen = select_persons([body("a", 0, wide), body("b", 0, wide)], 30)
    assert rules(chosen) == [("body-spread", "a")]


def test_width_of_four_fifths_of_the_height_is_good():
    pose = np.zeros((20, 25, 3), np.float32)
    pose[:, 0, 0], pose[:, 1, 1] = 0.75, 1.0
    wider = pose.copy()
    wider[:, 0, 0] = 0.85
    chosen = select_persons([body("a", 0, pose), body("b", 0, wider)], 20)
    assert rules(chosen) == [("body-spread", "b")]


def test_more_motion_comes_first():
    calm, lively = standing(30, 0, amount=0.001), standing(30, 1, amount=0.2)
    chosen = select_persons([body("calm", 0, calm), body("lively", 0, lively)], 30)
    np.testing.assert_array_equal(chosen.xyz[0], lively)
    np.testing.assert_array_equal(chosen.xyz[1], calm)


def test_motion_in_noisy_frames_does_not_count():
    calm, lively = standing(60, 0, amount=0.0), standing(60, 1, amount=0.1)
    jump = calm.copy()
    jump[:20] = standing(20, 0, wide=True, amount=0) + np.float32(50)
    chosen = select_persons([body("jump", 0, jump), body("lively", 0, lively)], 60)
    np.testing.assert_array_equal(chosen.xyz[0], lively)


def test_a_new_id_of_the_same_person_is_joined_frame_by_frame():
    first, later, second = standing(20, 0, amount=0.3), standing(25, 1, amount=0.2), standing(45, 2, amount=0.01)
    chosen = select_persons([body("a", 0, first), body("b", 20, later), body("c", 0, second)], 45)
    assert not chosen.dropped
    np.testing.assert_array_equal(chosen.xyz[0], np.concatenate([first, later]))
    np.testing.assert_array_equal(chosen.xyz[1], second)


def test_a_body_that_vanishes_and_returns_stays_where_it_was_seen():
    whole = standing(40)
    seen = np.r_[0:15, 25:40]
    gap = Body("a", seen, whole[seen], np.ones((30, 25), bool))
    chosen = select_persons([gap, body("b", 0, standing(40, 1, amount=0.0))], 40)
    np.testing.assert_array_equal(chosen.xyz[0][seen], whole[seen])
    assert not chosen.valid[0][15:25].any()


def test_a_third_body_is_dropped_and_the_choice_does_not_depend_on_their_order():
    bodies = [body(str(i), 0, standing(30, i, amount=amount)) for i, amount in enumerate((0.1, 0.01, 0.3))]
    chosen, turned = select_persons(bodies, 30), select_persons(bodies[::-1], 30)
    assert rules(chosen) == rules(turned) == [("body-third", "1")]
    np.testing.assert_array_equal(chosen.xyz, turned.xyz)


def test_frames_that_only_a_dropped_body_had_are_left_out():
    chosen = select_persons([body("a", 0, standing(30)), body("b", 30, standing(5))], 35)
    assert chosen.xyz.shape[1] == 30
    assert chosen.empty_frames == 5
