"""Masks: exact counts for every strategy and ratio, also where clips lack points; different for each clip."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers.plugin_modules import plugin_module
from ssl_skel.data.layouts import KINECT_V1_20, NITE_15

masks = plugin_module("colorization", "masks")
colours = plugin_module("colorization", "colours")

STRATEGIES = ("random", "frame", "segment", "joint", "part")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def units_of(valid: Tensor, strategy: str, parts: Tensor) -> Tensor:
    """(B, U) bool: which of the units that a strategy hides have a point in `valid` (B, M, T, V)."""
    if strategy == "random":
        return valid.flatten(1)
    if strategy in ("frame", "segment"):
        return valid.any(3).any(1)
    joints = valid.any(2).any(1)
    if strategy == "joint":
        return joints
    return torch.stack([joints[:, part].any(1) for part in parts], dim=1)


def expected(units: int, ratio: float) -> int:
    return min(math.floor(units * ratio + 0.5), max(units - 1, 0))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(STRATEGIES), st.floats(0, 0.99), st.integers(1, 3), st.integers(1, 9), st.integers(0, 999),
       st.sampled_from([0.0, 0.3, 0.9]), st.integers(1, 3), st.sampled_from([5, 10]))
def test_counts_are_exact(strategy: str, ratio: float, persons: int, frames: int, seed: int, lost: float,
                          runs: int, part_count: int) -> None:
    parts = colours.part_members(NITE_15, part_count)
    valid = torch.rand(4, persons, frames, 15, generator=generator(seed)) >= lost
    valid[0] = False
    valid[1] = True
    seen = masks.visible(valid, strategy, ratio, generator(seed), parts, runs)
    assert not (seen & ~valid).any()
    before, after = units_of(valid, strategy, parts).sum(1), units_of(seen, strategy, parts).sum(1)
    assert (before - after).tolist() == [expected(int(n), ratio) for n in before]
    if strategy != "random":
        kept = units_of(seen, strategy, parts)
        untouched = {"frame": kept[:, None, :, None], "segment": kept[:, None, :, None]}.get(strategy)
        if strategy == "joint":
            untouched = kept[:, None, None]
        if strategy == "part":
            untouched = (kept[:, :, None] & parts).any(1)[:, None, None]
        assert torch.equal(seen, valid & untouched)
    assert seen.flatten(1).any(1).tolist() == valid.flatten(1).any(1).tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7])
def test_ratios_of_the_ablation(strategy: str, ratio: float) -> None:
    parts = colours.part_members(KINECT_V1_20, 10)
    valid = torch.ones(16, 1, 40, 20, dtype=torch.bool)
    seen = masks.visible(valid, strategy, ratio, generator(3), parts)
    units = {"random": 800, "frame": 40, "segment": 40, "joint": 20, "part": 10}[strategy]
    assert seen.flatten(1).sum(1).tolist() == [800 - round(units * ratio) * 800 // units] * 16
    assert len(torch.unique(seen.flatten(1), dim=0)) > 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_generator_same_mask(strategy: str) -> None:
    parts = colours.part_members(NITE_15, 5)
    valid = torch.ones(8, 2, 10, 15, dtype=torch.bool)
    first, again, other = (masks.visible(valid, strategy, 0.4, generator(seed), parts) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_unit_is_hidden_equally_often() -> None:
    present = torch.ones(20000, 8, dtype=torch.bool)
    drawn = masks.choose(present, 0.375, generator(0)).float().mean(0)
    assert torch.allclose(drawn, torch.full((8,), 0.375), atol=0.015)


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_segments_are_runs_of_valid_frames(runs: int) -> None:
    valid = torch.ones(64, 1, 30, 15, dtype=torch.bool)
    valid[:, :, 10:14] = False
    hidden = masks.choose_runs(valid.any(3).any(1), 0.5, runs, generator(5))
    assert (hidden.sum(1) == 13).all()
    assert not hidden[:, 10:14].any()
    compact = torch.cat([hidden[:, :10], hidden[:, 14:]], dim=1).long()
    starts = (compact.diff(dim=1, prepend=torch.zeros(64, 1, dtype=torch.long)) == 1).sum(1)
    assert starts.max() == runs
    assert starts.min() >= 1
    assert len(torch.unique(hidden, dim=0)) > 5


def test_segments_start_everywhere() -> None:
    present = torch.ones(4000, 10, dtype=torch.bool)
    first = masks.choose_runs(present, 0.3, 1, generator(7)).long().argmax(1)
    assert torch.bincount(first, minlength=8).tolist() == pytest.approx([500] * 8, rel=0.2)


def test_none_hides_nothing() -> None:
    valid = torch.rand(3, 1, 4, 15, generator=generator(0)) > 0.5
    assert masks.visible(valid, "none", 0.5, generator(1), colours.part_members(NITE_15, 5)) is valid
