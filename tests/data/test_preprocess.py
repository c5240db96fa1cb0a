"""Each preprocessing family equals a loop that follows its description, clip by clip."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.families import NOTES
from ssl_skel.data.layouts import get_layout
from ssl_skel.data.loader import load_clips
from ssl_skel.data.memory import memory_store
from ssl_skel.data.preprocess import FAMILIES, apply, get_family
from ssl_skel.data.ragged import HostClips
from ssl_skel.errors import UnknownName

CARD = DatasetCard("toy", "Toy", "kinect_v2_25", 2, ("a", "b"), {})
LAYOUT = get_layout("kinect_v2_25", 2)


def make_clip(rng, name, persons=2, frames=7, gaps=True):
    valid = np.ones((persons, frames, 25), bool)
    if gaps:
        valid = (rng.random((persons, frames, 25)) < 0.7) & (rng.random((persons, frames, 1)) < 0.8)
        valid[0, frames // 2, 6] = True
    return RawClip(name, rng.normal(size=(persons, frames, 25, 3)).astype(np.float32), valid, 0, 1)


def processed(clips, family, scale=1.0):
    """Each clip's (M, T, V, 3), from one load of all of them."""
    store = memory_store(CARD, clips, "toy")
    ragged = apply(get_family(family), HostClips.of(store, np.arange(len(clips))).gather(), LAYOUT, scale)
    back = dataclasses.replace(store, rows=ragged.rows[:-1].numpy())
    return [back.clip(position).xyz for position in range(len(clips))]


def mean_of(clip, person, frame):
    return clip.xyz[person, frame][clip.valid[person, frame]].mean(0)


def first(clip, *joints):
    """First (person, frame), person by person, in which all joints are valid."""
    for person in range(len(clip.xyz)):
        for frame in range(clip.xyz.shape[1]):
            if clip.valid[person, frame].any() and all(clip.valid[person, frame, joint] for joint in joints):
                return person, frame
    return None


def first_origin(clip):
    found = first(clip, LAYOUT.centre)
    return clip.xyz[found][LAYOUT.centre] if found else mean_of(clip, *first(clip))


def turn_of(pose):
    """Rotation about y that brings left -> right shoulder onto +x."""
    left, right = LAYOUT.shoulders
    x, _, z = pose[right] - pose[left]
    angle = np.arctan2(z, x)
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def body_axes(clip):
    """Rotation that brings the mean spine of the first person that shows it onto +y, its shoulders towards +x."""
    left, right = LAYOUT.shoulders
    found = first(clip, left, right, LAYOUT.root)
    if found is None:
        return np.eye(3)
    poses = [pose for pose, seen in zip(clip.xyz[found[0]].astype(np.float64), clip.valid[found[0]])
             if seen[[left, right, LAYOUT.root]].all()]
    across = np.mean([pose[right] - pose[left] for pose in poses], 0)
    spine = np.mean([(pose[left] + pose[right]) / 2 - pose[LAYOUT.root] for pose in poses], 0)
    up = spine / np.linalg.norm(spine)
    flat = across - across @ up * up
    side = flat / np.linalg.norm(flat)
    return np.stack([side, up, np.cross(side, up)])


def loop(clip, family):
    """The family by its description, for one clip."""
    xyz = clip.xyz.astype(np.float64)
    out = np.zeros_like(xyz)
    for person in range(len(xyz)):
        latest = None
        for frame in range(xyz.shape[1]):
            if clip.valid[0, frame, LAYOUT.centre]:
                latest = xyz[0, frame, LAYOUT.centre]
            if not clip.valid[person, frame].any():
                continue
            turn = np.eye(3)
            if family in ("first-frame", "view-aligned", "body-aligned"):
                origin = first_origin(clip)
            elif family == "per-frame":
                origin = first_origin(clip) if latest is None else latest
            else:
                own = clip.valid[person, frame, LAYOUT.root]
                origin = xyz[person, frame, LAYOUT.root] if own else mean_of(clip, person, frame)
                if clip.valid[person, frame][list(LAYOUT.shoulders)].all():
                    turn = turn_of(xyz[person, frame])
            if family == "view-aligned" and (found := first(clip, LAYOUT.centre, *LAYOUT.shoulders)):
                turn = turn_of(xyz[found])
            if family == "body-aligned":
                turn = body_axes(clip)
            moved = (xyz[person, frame] - origin) @ turn.T
            out[person, frame] = np.where(clip.valid[person, frame, :, None], moved, 0)
    return out


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), gaps=st.booleans())
def test_equals_a_loop(family, seed, gaps):
    rng = np.random.default_rng(seed)
    clips = [make_clip(rng, f"c{number}", 1 + number % 2, 1 + 3 * number, gaps) for number in range(3)]
    clips = [clip for clip in clips if clip.valid[0].any() and (len(clip.valid) == 1 or clip.valid[1].any())]
    for clip, found in zip(clips, processed(clips, family)):
        np.testing.assert_allclose(found, loop(clip, family), atol=2e-5)


def test_a_clip_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(0)
    clips = [make_clip(rng, f"c{number}") for number in range(4)]
    for family in FAMILIES:
        together = processed(clips, family)
        for clip, found in zip(clips, together):
            np.testing.assert_array_equal(processed([clip], family)[0], found)


@given(angle=st.floats(-3, 3), shift=st.lists(st.floats(-5, 5), min_size=3, max_size=3))
@settings(max_examples=20, deadline=None)
def test_view_aligned_forgets_the_view(angle, shift):
    clip = make_clip(np.random.default_rng(1), "c", gaps=False)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    moved = dataclasses.replace(clip, xyz=(clip.xyz @ turn.T + shift).astype(np.float32))
    one, other = processed([clip], "view-aligned")[0], processed([moved], "view-aligned")[0]
    np.testing.assert_allclose(one, other, atol=1e-4)
    left, right = LAYOUT.shoulders
    across = one[0, 0, right] - one[0, 0, left]
    assert across[0] > 0
    assert abs(across[2]) < 1e-5


@given(seed=st.integers(0, 10_000), gaps=st.booleans())
@settings(max_examples=20, deadline=None)
def test_body_aligned_forgets_any_turn(seed, gaps):
    rng = np.random.default_rng(seed)
    clip = make_clip(rng, "c", persons=1, gaps=gaps)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    moved = dataclasses.replace(clip, xyz=(clip.xyz @ turn.T + rng.normal(size=3)).astype(np.float32))
    if first(clip, LAYOUT.root, *LAYOUT.shoulders) and first(clip, LAYOUT.centre):
        one, other = processed([clip], "body-aligned")[0], processed([moved], "body-aligned")[0]
        np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("up", [1, 2])
def test_body_aligned_mirrors_nobody(up):
    layout = dataclasses.replace(LAYOUT, up=up)
    clip = make_clip(np.random.default_rng(0), "c", gaps=False)
    store = memory_store(CARD, [clip], "toy")
    ragged = apply(get_family("body-aligned"), HostClips.of(store, np.arange(1)).gather(), layout)
    after, before = ragged.rows[0, :4].double().numpy(), clip.xyz[0, 0, :4].astype(np.float64)
    det_after, det_before = (np.linalg.det(pose[1:] - pose[0]) for pose in (after, before))
    assert det_after == pytest.approx(det_before, rel=1e-3)


def test_a_body_without_axes_is_not_turned():
    clip = make_clip(np.random.default_rng(0), "c", gaps=False)
    left, right = LAYOUT.shoulders
    clip.xyz[:, :, left] = clip.xyz[:, :, right]
    np.testing.assert_array_equal(processed([clip], "body-aligned")[0], processed([clip], "first-frame")[0])


def test_what_each_family_keeps():
    """Two persons walk apart: who keeps trajectory and distance."""
    rng = np.random.default_rng(0)
    pose = rng.normal(size=(25, 3))
    xyz = np.stack([pose + np.array([[[0.0, 0, 0]], [[1.0, 0, 0]], [[2.0, 0, 0]]]),
                    pose + np.array([[[5.0, 0, 0]], [[4.0, 0, 0]], [[3.0, 0, 0]]])]).astype(np.float32)
    clip = RawClip("c", xyz, np.ones(xyz.shape[:3], bool), 0, 1)
    kept = {family: processed([clip], family)[0] for family in ("first-frame", "per-frame", "per-body")}
    centre = {family: found[:, :, LAYOUT.centre, 0] for family, found in kept.items()}
    np.testing.assert_allclose(centre["first-frame"], [[0, 1, 2], [5, 4, 3]], atol=1e-5)
    np.testing.assert_allclose(centre["per-frame"], [[0, 0, 0], [5, 3, 1]], atol=1e-5)
    assert np.ptp(kept["per-body"][:, :, :, :], axis=(0, 1)).max() < 1e-5


def test_scale_multiplies():
    clips = [make_clip(np.random.default_rng(0), "c")]
    one, two = processed(clips, "first-frame")[0], processed(clips, "first-frame", 2.0)[0]
    np.testing.assert_array_equal(2 * one, two)


def test_shoulders_above_one_another_turn_nothing():
    clip = make_clip(np.random.default_rng(0), "c", gaps=False)
    left, right = LAYOUT.shoulders
    clip.xyz[:, :, left] = clip.xyz[:, :, right] + np.float32([0, 0.2, 0])
    np.testing.assert_array_equal(processed([clip], "view-aligned")[0], processed([clip], "first-frame")[0])


def test_large_parts_are_done_in_pieces(monkeypatch):
    clips = [make_clip(np.random.default_rng(0), "c", frames=20)]
    for family in FAMILIES:
        whole = processed(clips, family)[0]
        monkeypatch.setattr("ssl_skel.data.preprocess.CHUNK_ROWS", 3)
        np.testing.assert_array_equal(processed(clips, family)[0], whole)
        monkeypatch.undo()


def test_the_store_is_not_touched():
    store = memory_store(CARD, [make_clip(np.random.default_rng(0), "c")], "toy")
    before = store.rows.copy()
    for family in FAMILIES.values():
        for budget in (0, 10**9):
            load_clips(store, np.arange(1), family, budget=budget).batch(torch.tensor([0]))
    np.testing.assert_array_equal(store.rows, before)


def test_names():
    assert set(FAMILIES) == set(NOTES) == {"first-frame", "per-frame", "per-body", "view-aligned", "body-aligned"}
    assert get_family("per-body").id == "per-body/1"
    with pytest.raises(UnknownName, match="first-frame"):
        get_family("firstframe")
