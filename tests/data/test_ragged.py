"""Batches by index arithmetic equal what a loop over clips gives, on the device or from the memory map."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.loader import PinnedClips, RaggedClips, load_clips
from ssl_skel.data.memory import memory_store
from ssl_skel.data.preprocess import FAMILIES, get_family
from ssl_skel.data.ragged import HostClips, positions, sample

CARD = DatasetCard("toy", "Toy", "nite_15", 3, ("a", "b"), {})


def toy_store(seed=0, count=6, gaps=True):
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        persons, frames = int(rng.integers(1, 4)), int(rng.integers(1, 30))
        valid = np.ones((persons, frames, 15), bool)
        if gaps:
            valid = (rng.random((persons, frames, 1)) < 0.8) & (rng.random((persons, frames, 15)) < 0.9)
            valid[:, frames // 2, 3] = True
        xyz = rng.normal(size=(persons, frames, 15, 3)).astype(np.float32)
        clips.append(RawClip(f"c{number:02d}", xyz, valid, 0, 1))
    return memory_store(CARD, clips, "toy")


def at_frames(clip, before, weight):
    """One clip interpolated by a loop: (M, T, V, 3), (M, T, V)."""
    persons, frames, joints, _ = clip.xyz.shape
    xyz, valid = np.zeros((3, len(before), joints, 3)), np.zeros((3, len(before), joints), bool)
    for person in range(persons):
        for step, (first, share) in enumerate(zip(before, weight)):
            second = min(first + 1, frames - 1)
            for joint in range(joints):
                a, b = clip.valid[person, first, joint], clip.valid[person, second, joint]
                valid[person, step, joint] = a or b
                one, two = clip.xyz[person, first, joint], clip.xyz[person, second, joint]
                if a and b:
                    xyz[person, step, joint] = one + share * (two - one)
                elif a or b:
                    xyz[person, step, joint] = one if a else two
    return xyz, valid


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.integers(1, 40), mode=st.sampled_from(["stratified", "centred"]),
       gaps=st.booleans())
def test_batches_equal_a_loop(seed, length, mode, gaps):
    store = toy_store(seed, 4, gaps)
    clips = HostClips.of(store, np.arange(4)).gather()
    assert clips.whole or gaps
    index = torch.tensor([2, 0, 3, 2])
    before, weight = positions(clips.frames[index], length, mode, torch.Generator().manual_seed(seed))
    xyz, valid = sample(clips, index, before, weight)
    for row, position in enumerate(index.tolist()):
        wanted, seen = at_frames(store.clip(position), before[row].tolist(), weight[row].tolist())
        np.testing.assert_array_equal(valid[row].numpy(), seen)
        np.testing.assert_allclose(xyz[row].numpy(), wanted, atol=1e-5)
        assert not xyz[row][~valid[row]].any(), "an invalid point is not exact zero"


@given(frames=st.integers(1, 400), length=st.integers(1, 100))
def test_centred_is_the_middle_of_the_bin(frames, length):
    before, weight = positions(torch.tensor([frames]), length, "centred", None)
    middle = np.clip((np.arange(length) + 0.5) * frames / length - 0.5, 0, frames - 1)
    np.testing.assert_allclose((before + weight)[0].numpy(), middle, atol=1e-4)
    assert (before >= 0).all()
    assert (before <= frames - 1).all()
    assert ((weight >= 0) & (weight < 1)).all()
    if frames == length:
        assert before[0].tolist() == list(range(length))
        assert not weight.any()


@settings(max_examples=50)
@given(frames=st.integers(1, 400), length=st.integers(1, 100), seed=st.integers(0, 1000))
def test_stratified_stays_in_its_bin(frames, length, seed):
    before, weight = positions(torch.tensor([frames]), length, "stratified", torch.Generator().manual_seed(seed))
    place = (before + weight)[0].double().numpy()
    bins = np.arange(length)
    low, high = bins * frames / length - 0.5, (bins + 1) * frames / length - 0.5
    assert (place >= np.clip(low, 0, frames - 1) - 1e-3).all()
    assert (place <= np.clip(high, 0, frames - 1) + 1e-3).all()
    assert (np.diff(place) >= -1e-3).all()


def test_stratified_covers_its_bins_evenly():
    before, weight = positions(torch.full((4000,), 60), 6, "stratified", torch.Generator().manual_seed(0))
    place = (before + weight + 0.5)[:, 2]
    assert abs(place.mean() - 25) < 0.2
    assert abs(place.std() - 10 / 12**0.5) < 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize("mode", ["stratified", "centred"])
def test_memory_map_and_device_give_the_same_bits(family, gaps, mode):
    store, part = toy_store(1, 8, gaps), np.array([7, 1, 2, 5, 4])
    made = [load_clips(store, part, get_family(family), scale=0.5, frames=9, budget=budget)
            for budget in (10**9, 0)]
    assert [type(clips) for clips in made] == [RaggedClips, PinnedClips]
    index = torch.tensor([4, 0, 1])
    first, second = (clips.sample(index, 12, mode, torch.Generator().manual_seed(5)) for clips in made)
    assert torch.equal(first.xyz, second.xyz)
    assert torch.equal(first.valid, second.valid)
    assert torch.equal(first.index, second.index)
    evaluated = [clips.batch(index) for clips in made]
    assert torch.equal(evaluated[0].xyz, evaluated[1].xyz)
    assert evaluated[0].xyz.shape == (3, 3, 9, 15, 3)


def test_prefetch_changes_nothing():
    store = toy_store(2, 8)
    clips = load_clips(store, np.arange(8), get_family("first-frame"), frames=9, budget=0)
    index, other = torch.tensor([4, 0, 1]), torch.tensor([2, 2])
    wanted = clips.batch(index).xyz
    clips.prefetch(index)
    assert torch.equal(clips.batch(index).xyz, wanted)
    for ahead in (other, index, other, other):
        clips.prefetch(ahead)
    assert torch.equal(clips.batch(index).xyz, wanted)
    for ahead in (index, other):
        clips.prefetch(ahead)
    assert torch.equal(clips.batch(index).xyz, wanted)
    assert len(clips._waiting) == 1


def test_prefetch_reads_ahead(monkeypatch):
    clips = load_clips(toy_store(2, 8), np.arange(8), get_family("first-frame"), frames=9, budget=0)
    index = torch.tensor([4, 0])
    clips.prefetch(index)
    clips._pool.shutdown(wait=True)
    monkeypatch.setattr(HostClips, "gather", None)
    assert len(clips.batch(index)) == 2


def test_draws_come_from_the_generator_only():
    clips = load_clips(toy_store(3), np.arange(6), get_family("first-frame"))
    state = torch.random.get_rng_state()
    index = torch.arange(6)
    first, again, other = (clips.sample(index, 8, "stratified", torch.Generator().manual_seed(seed)).xyz
                           for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_batch_does_not_depend_on_its_mates():
    clips = load_clips(toy_store(4), np.arange(6), get_family("view-aligned"))
    together = clips.batch(torch.tensor([3, 0, 5])).xyz
    assert torch.equal(together[:1], clips.batch(torch.tensor([3])).xyz)


@pytest.mark.gpu
def test_a_batch_on_cuda_waits_for_nothing():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    store = toy_store(5)
    clips = load_clips(store, np.arange(6), get_family("first-frame"), device="cuda")
    index, gen = torch.tensor([0, 3, 1]).cuda(), torch.Generator("cuda").manual_seed(0)
    clips.sample(index, 8, "stratified", gen)
    torch.cuda.set_sync_debug_mode("error")
    try:
        clips.sample(index, 8, "stratified", gen)
        clips.batch(index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = load_clips(store, np.arange(6), get_family("first-frame")).batch(index.cpu())
    assert torch.allclose(clips.batch(index).xyz.cpu(), on_cpu.xyz, atol=1e-6)
    pinned = load_clips(store, np.arange(6), get_family("first-frame"), device="cuda", budget=0)
    pinned.prefetch(index)
    assert torch.equal(pinned.batch(index).xyz, clips.batch(index).xyz)
