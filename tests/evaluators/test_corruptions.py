import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.moving import clips
from ssl_skel.api import Batch
from ssl_skel.data.layouts import get_layout
from ssl_skel.evaluators import corruptions
from ssl_skel.evaluators.corruptions import CORRUPTIONS, ChangedClips, bone_length
from ssl_skel.evaluators.early import observed


def batch(persons=2, frames=20, n=64) -> Batch:
    source, _ = clips(n, get_layout("nite_15", persons), 3, frames, 0)
    return source.batch(torch.arange(n))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(CORRUPTIONS)), st.integers(0, 4), st.integers(0, 10**6))
def test_contract(name, severity, seed):
    """Same shapes, zero where invalid, never an empty clip, nothing invalid made valid, drawn by the generator."""
    corrupt, sizes = CORRUPTIONS[name]
    clean = batch(frames=7, n=8)
    clean.valid[:4, :, 3:] = False
    clean = Batch(clean.xyz * clean.valid[..., None], clean.valid, clean.index, clean.layout)
    before = clean.xyz.clone()
    got = corrupt(clean, sizes[severity], gen(seed))
    assert got.xyz.shape == clean.xyz.shape
    assert (got.xyz[~got.valid] == 0).all()
    assert got.valid.flatten(1).any(dim=1).all()
    if name != "rate":
        assert not (got.valid & ~clean.valid).any()
    assert torch.equal(clean.xyz, before)
    again = corrupt(clean, sizes[severity], gen(seed))
    assert torch.equal(again.xyz, got.xyz)
    assert torch.equal(again.valid, got.valid)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_severity_grows(name):
    corrupt, sizes = CORRUPTIONS[name]
    clean = batch()
    damage = [float((corrupt(clean, size, gen()).xyz - clean.xyz).square().sum()) for size in sizes]
    assert damage[0] > 0
    assert all(a < b for a, b in pairwise(damage))


def test_noise_is_relative_to_the_body():
    clean = batch(n=256)
    added = (corruptions.noise(clean, 0.1, gen()).xyz - clean.xyz)[clean.valid]
    bones = bone_length(clean)
    expected = 0.1 * (bones**2 * clean.valid.flatten(1).sum(1)).sum().div(clean.valid.sum()).sqrt()
    assert float(added.std()) == pytest.approx(float(expected), rel=0.02)
    larger = Batch(clean.xyz * 10, clean.valid, clean.index, clean.layout)
    torch.testing.assert_close(bone_length(larger), 10 * bones)


def test_bone_length_by_hand():
    layout = get_layout("nite_15")
    xyz = torch.zeros(1, 1, 1, 15, 3)
    xyz[0, 0, 0, 1, 0] = 2.0  # the neck has four bones, two metres each
    valid = torch.ones(1, 1, 1, 15, dtype=torch.bool)
    assert float(bone_length(Batch(xyz, valid, torch.zeros(1), layout))) == pytest.approx(4 * 2 / 14)
    valid[0, 0, 0, 0] = False  # the head, and with it one of the four
    assert float(bone_length(Batch(xyz, valid, torch.zeros(1), layout))) == pytest.approx(3 * 2 / 13)


def test_counts_of_what_is_lost():
    clean = batch(persons=1)
    assert (corruptions.joints(clean, 0.4, gen()).valid[:, 0, 0].sum(1) == 9).all()
    assert (corruptions.frames(clean, 0.75, gen()).valid[:, 0, :, 0].sum(1) == 5).all()
    hidden = ~corruptions.part(clean, 0.6, gen()).valid[:, 0]
    assert (hidden.any(2).sum(1) == 12).all()
    for clip in hidden:
        assert tuple(clip.any(0).nonzero().flatten().tolist()) in clean.layout.parts


def test_person_goes_where_another_stays():
    clean = batch(persons=2)
    got = corruptions.person(clean, 1.0, gen())
    alone = ~clean.valid[:, 1].flatten(1).any(1)
    assert torch.equal(got.valid[alone], clean.valid[alone])
    assert (got.valid[~alone].flatten(2).any(2).sum(1) == 1).all()
    assert len(got.valid[~alone].flatten(2).any(2)[:, 0].unique()) == 2


def test_rate_holds_frames():
    clean = batch(frames=9)
    got = corruptions.rate(clean, 4, gen())
    assert torch.equal(got.xyz, clean.xyz[:, :, [0, 0, 0, 0, 4, 4, 4, 4, 8]])


def test_view_turns_about_the_vertical():
    clean = batch()
    got = corruptions.view(clean, 90, gen())
    torch.testing.assert_close(got.xyz[..., 1], clean.xyz[..., 1])
    torch.testing.assert_close(got.xyz.norm(dim=-1), clean.xyz.norm(dim=-1))
    inner = (got.xyz * clean.xyz)[..., [0, 2]].sum(-1)
    torch.testing.assert_close(inner, torch.zeros_like(inner), atol=1e-5, rtol=0)
    turned = torch.atan2(got.xyz[..., 0], got.xyz[..., 2]) - torch.atan2(clean.xyz[..., 0], clean.xyz[..., 2])
    side = torch.sin(turned)[:, 0, 0, 0].round()
    assert set(side.tolist()) == {-1.0, 1.0}
    assert math.isclose(float(torch.cos(turned)[:, 0].abs().max()), 0, abs_tol=1e-3)


def test_observed_part_is_stretched():
    clean = batch(frames=20)
    assert torch.equal(observed(clean, 1.0).xyz, clean.xyz)
    half = observed(clean, 0.5)
    torch.testing.assert_close(half.xyz[:, :, 0], clean.xyz[:, :, 0])
    torch.testing.assert_close(half.xyz[:, :, -1], clean.xyz[:, :, 9])
    late = clean.xyz.clone()
    late[:, :, 10:] = 1e6
    torch.testing.assert_close(observed(Batch(late, clean.valid, clean.index, clean.layout), 0.5).xyz, half.xyz)


def test_changed_clips_keep_length_and_layout():
    source, _ = clips(5, get_layout("nite_15"), 3, 4, 0)
    changed = ChangedClips(source, lambda b: corruptions.view(b, 30, gen()))
    assert (len(changed), changed.layout) == (5, source.layout)
    assert not torch.equal(changed.batch(torch.arange(5)).xyz, source.xyz)
