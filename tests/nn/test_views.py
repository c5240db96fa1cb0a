"""Every view: an own draw for each clip, invalid points stay zero and invalid, and what each promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.data.layouts import LAYOUTS, Layout, get_layout
from ssl_skel.nn import views
from ssl_skel.nn.views import Clips, Recipe

View = Callable[[Clips, torch.Generator, Layout], Clips]

VIEWS: dict[str, View] = {
    "shear": lambda c, g, s: views.shear(c, g),
    "rotate_one_sided": lambda c, g, s: views.rotate_one_sided(c, g),
    "rotate_euler": lambda c, g, s: views.rotate_euler(c, g),
    "rotate_vertical": lambda c, g, s: views.rotate_vertical(c, g, s),
    "scale": lambda c, g, s: views.scale(c, g),
    "index_flip": lambda c, g, s: views.index_flip(c, g, s),
    "mirror": lambda c, g, s: views.mirror(c, g, s),
    "crop_resize": lambda c, g, s: views.crop_resize(c, g),
    "crop_pad": lambda c, g, s: views.crop_pad(c, g),
    "speed": lambda c, g, s: views.speed(c, g),
    "time_flip": lambda c, g, s: views.time_flip(c, g),
    "noise": lambda c, g, s: views.gaussian_noise(c, g, p=1.0),
    "blur": lambda c, g, s: views.gaussian_blur(c, g, p=1.0),
    "axis_mask": lambda c, g, s: views.axis_mask(c, g, p=1.0),
    "joint_mask": lambda c, g, s: views.joint_mask(c, g, 4),
    "time_mask": lambda c, g, s: views.time_mask(c, g, 4),
    "joint_corrupt": lambda c, g, s: views.joint_corrupt(c, g, 5),
}
ISOMETRIES = ("rotate_one_sided", "rotate_euler", "rotate_vertical", "time_flip", "index_flip", "mirror")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(layout: Layout, batch: int = 5, persons: int = 2, frames: int = 16, seed: int = 0) -> Clips:
    gen = generator(seed)
    xyz = torch.randn(batch, persons, frames, layout.num_joints, 3, generator=gen)
    valid = torch.rand(batch, persons, frames, layout.num_joints, generator=gen) > 0.15
    valid[0, 1:] = False
    return Clips(xyz, valid).clean()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda s: s.name)
def test_contract(name: str, layout: Layout) -> None:
    before, state = clips(layout), torch.get_rng_state()
    kept = Clips(before.xyz.clone(), before.valid.clone())
    after = VIEWS[name](before, generator(3), layout)
    assert after.xyz.shape == before.xyz.shape
    assert after.xyz.dtype == torch.float32
    assert torch.isfinite(after.xyz).all()
    assert not after.xyz[~after.valid].any()
    assert not after.valid[0, 1:].any()
    again = VIEWS[name](before, generator(3), layout)
    assert torch.equal(after.xyz, again.xyz)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(before.xyz, kept.xyz)
    assert torch.equal(before.valid, kept.valid)


@pytest.mark.parametrize("name", VIEWS)
def test_each_clip_has_its_own_draw(name: str) -> None:
    layout = get_layout("nite_15")
    one = clips(layout, batch=2)
    same = Clips(one.xyz[1:].repeat(16, 1, 1, 1, 1), one.valid[1:].repeat(16, 1, 1, 1))
    after = VIEWS[name](same, generator(1), layout)
    distinct = {tuple(clip.flatten().tolist()) for clip in torch.cat([after.xyz, after.valid[..., None]], -1)}
    least = 2 if name in ("index_flip", "mirror", "time_flip", "axis_mask") else 4
    assert len(distinct) >= least


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "noise"])
def test_persons_share_the_draw(name: str) -> None:
    layout = get_layout("nite_15")
    one = clips(layout, batch=6, persons=1)
    both = Clips(one.xyz.repeat(1, 2, 1, 1, 1), one.valid.repeat(1, 2, 1, 1))
    after = VIEWS[name](both, generator(1), layout)
    torch.testing.assert_close(after.xyz[:, 0], after.xyz[:, 1])


@pytest.mark.parametrize("name", ISOMETRIES)
def test_isometries_keep_distances(name: str) -> None:
    layout = get_layout("kinect_v1_20")
    before = clips(layout, frames=6)
    after = VIEWS[name](before, generator(2), layout)
    for old, new in zip(before.xyz, after.xyz):
        want, got = (torch.pdist(x.reshape(-1, 3).double()).sort().values for x in (old, new))
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_rotations_are_proper_and_bounded() -> None:
    layout = get_layout("nite_15")
    eye = Clips(torch.eye(3).expand(500, 1, 1, 3, 3), torch.ones(500, 1, 1, 3, dtype=torch.bool))
    one_sided = views.rotate_one_sided(eye, generator(), 30, 1).xyz[:, 0, 0]
    angle = ((one_sided.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos().rad2deg()
    assert torch.allclose(torch.linalg.det(one_sided), torch.ones(500), atol=1e-5)
    assert 25 < angle.max() < 32
    vertical = views.rotate_vertical(eye, generator(), layout, 90).xyz[:, 0, 0]
    assert torch.allclose(vertical[:, 1], torch.tensor([0.0, 1, 0]).expand(500, 3), atol=1e-6)
    turn = torch.atan2(vertical[:, 0, 2], vertical[:, 0, 0]).rad2deg()
    assert -90 <= turn.min() < -80
    assert 80 < turn.max() <= 90


def test_one_sided_rotation_never_turns_backwards() -> None:
    eye = Clips(torch.eye(3).expand(400, 1, 1, 3, 3), torch.ones(400, 1, 1, 3, dtype=torch.bool))
    r = views.rotate_one_sided(eye, generator(), 30, 0).xyz[:, 0, 0].transpose(1, 2)
    axis = torch.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], 1)
    assert (axis > -1e-6).all()


def test_shear_is_affine_with_unit_diagonal() -> None:
    eye = Clips(torch.eye(3).expand(300, 1, 1, 3, 3), torch.ones(300, 1, 1, 3, dtype=torch.bool))
    matrix = views.shear(eye, generator(), 0.5).xyz[:, 0, 0]
    assert (matrix.diagonal(dim1=1, dim2=2) == 1).all()
    off = matrix[:, ~torch.eye(3, dtype=torch.bool)]
    assert off.abs().max() <= 0.5
    assert off.min() < -0.45
    assert off.max() > 0.45


def test_mirror_moves_the_left_hand_to_the_right() -> None:
    layout = get_layout("kinect_v2_25")
    before = clips(layout, persons=2)
    true = views.mirror(before, generator(), layout, 1.0)
    index = views.index_flip(before, generator(), layout, 1.0)
    left, right = layout.mirror_pairs[0]
    assert torch.equal(true.xyz[..., left, :], before.xyz[..., right, :] * torch.tensor([-1.0, 1, 1]))
    assert torch.equal(index.xyz[..., left, :], before.xyz[..., right, :])
    assert torch.equal(true.valid[..., left], before.valid[..., right])
    twice = views.mirror(true, generator(), layout, 1.0)
    assert torch.equal(twice.xyz, before.xyz)
    assert torch.equal(views.mirror(before, generator(), layout, 0.0).xyz, before.xyz)


def ramp(batch: int, frames: int) -> Clips:
    xyz = torch.arange(frames, dtype=torch.float32).view(1, 1, frames, 1, 1).expand(batch, 1, frames, 2, 3)
    return Clips(xyz, torch.ones(batch, 1, frames, 2, dtype=torch.bool))


@given(frames=st.integers(1, 40), low=st.floats(0.1, 1), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_crop_resize_is_a_uniform_window(frames: int, low: float, seed: int) -> None:
    after = views.crop_resize(ramp(8, frames), generator(seed), low, 1.0)
    assert after.valid.all()
    track = after.xyz[:, 0, :, 0, 0]
    assert track.min() >= 0
    assert track.max() <= frames - 1
    if frames > 2:
        step = track.diff(dim=1)
        torch.testing.assert_close(step, step[:, :1].expand_as(step), atol=1e-3, rtol=1e-3)
        length = track[:, -1] - track[:, 0] + 1
        assert (length >= min(low * frames, frames) - 1e-2).all()


@given(frames=st.integers(1, 40), ratio=st.integers(1, 8), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_crop_pad_reflects_at_the_border(frames: int, ratio: int, seed: int) -> None:
    track = views.crop_pad(ramp(32, frames), generator(seed), ratio).xyz[:, 0, :, 0, 0]
    pad = frames // ratio
    line = list(range(frames))
    padded = torch.tensor(line[:pad][::-1] + line + line[frames - pad:][::-1], dtype=torch.float32)
    windows = padded.unfold(0, frames, 1)
    assert (track[:, None] == windows).all(-1).any(1).all()


def test_interpolation_is_linear_and_needs_both_frames() -> None:
    one = ramp(1, 6)
    one.valid[0, 0, 3] = False
    after = views.resample(one.clean(), torch.tensor([[0.25, 2.0, 2.5, 3.0, 3.5, 4.0]]))
    assert after.xyz[0, 0, 0, 0, 0] == 0.25
    assert after.valid[0, 0, :, 0].tolist() == [True, True, False, False, False, True]


def test_speed_holds_the_last_frame() -> None:
    track = views.speed(ramp(64, 20), generator(), 2.0, 2.0).xyz[:, 0, :, 0, 0]
    assert torch.equal(track[0, :10], torch.arange(0, 20, 2.0))
    assert (track[:, 10:] == 19).all()


def test_blur_of_a_constant_and_of_an_impulse() -> None:
    still = Clips(torch.full((3, 1, 20, 2, 3), 2.5), torch.ones(3, 1, 20, 2, dtype=torch.bool))
    still.valid[:, :, 5:9, 0] = False
    after = views.gaussian_blur(still.clean(), generator(), p=1.0)
    torch.testing.assert_close(after.xyz, still.clean().xyz)
    impulse = torch.zeros(1, 1, 31, 1, 3)
    impulse[:, :, 15] = 1
    spread = views.gaussian_blur(Clips(impulse, torch.ones(1, 1, 31, 1, dtype=torch.bool)), generator(), 15,
                                 1.0, 1.0, 1.0).xyz[0, 0, :, 0, 0]
    want = torch.exp(-(torch.arange(31.0) - 15).square() / 2) * ((torch.arange(31.0) - 15).abs() <= 7)
    torch.testing.assert_close(spread, want / want.sum(), atol=1e-6, rtol=1e-5)


def test_noise_has_its_deviation_and_probability() -> None:
    still = Clips(torch.zeros(400, 1, 8, 4, 3), torch.ones(400, 1, 8, 4, dtype=torch.bool))
    after = views.gaussian_noise(still, generator(), 0.05, 0.5).xyz.flatten(1)
    touched = after.any(1)
    assert 0.4 < touched.float().mean() < 0.6
    assert after[touched].std().item() == pytest.approx(0.05, rel=0.02)


def test_masks_hide_exactly_what_they_say() -> None:
    full = Clips(torch.ones(9, 2, 10, 15, 3), torch.ones(9, 2, 10, 15, dtype=torch.bool))
    joints = views.joint_mask(full, generator(), 4).valid
    assert ((~joints).all(2).sum(-1) == 4).all()
    assert ((~joints).sum((2, 3)) == 40).all()
    frames = views.time_mask(full, generator(), 3).valid
    assert ((~frames).all(-1).sum(-1) == 3).all()
    axes = views.axis_mask(full, generator(), 1.0)
    assert axes.valid.all()
    assert (axes.xyz.sum((1, 2, 3)) == 0).sum() == 9


def test_modalities() -> None:
    layout = get_layout("kinect_v1_20")
    joint = clips(layout)
    bone, motion = (views.modality(joint, layout, name) for name in ("bone", "motion"))
    child, parent = layout.bones[3]
    both = joint.valid[..., child] & joint.valid[..., parent]
    want = (joint.xyz[..., child, :] - joint.xyz[..., parent, :])[both]
    assert torch.equal(bone.xyz[..., child, :][both], want)
    assert not bone.xyz[..., layout.root, :].any()
    ok = joint.valid[:, :, 1] & joint.valid[:, :, 0]
    assert torch.equal(motion.xyz[:, :, 0][ok], (joint.xyz[:, :, 1] - joint.xyz[:, :, 0])[ok])
    assert not motion.xyz[:, :, -1].any()
    assert views.modality(joint, layout, "joint") is joint
    for made in (bone, motion):
        assert not made.xyz[~made.valid].any()


def test_recipe_applies_everything_and_empty_recipe_nothing() -> None:
    layout = get_layout("nite_15")
    before = clips(layout)
    same = views.augment(before, generator(), Recipe(), layout)
    assert torch.equal(same.xyz, before.xyz)
    everything = Recipe(
        crop_pad=6, crop_resize=(0.5, 1), speed=(0.8, 1.2), time_flip=0.5, shear=0.5, index_flip=0.5,
        mirror=0.5,
        rotate_one_sided=30, rotate_euler=10, rotate_vertical=math.degrees(1), scale=(0.9, 1.1), noise=0.5,
        blur=0.5, axis_mask=0.5, joint_mask=0.3, time_mask=0.2, shear_or_corrupt=0.6)
    after = views.augment(before, generator(), everything, layout)
    assert not torch.allclose(after.xyz, before.xyz)
    assert not after.xyz[~after.valid].any()
    assert not after.valid[0, 1:].any()
