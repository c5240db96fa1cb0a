"""Colours: the values that the papers' formulas give, and what they do not depend on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.plugin_modules import plugin_module
from ssl_skel.data.layouts import LAYOUTS

colours = plugin_module("colorization", "colours")
streams = plugin_module("colorization", "streams")
Config = plugin_module("colorization", "config").ColorizationConfig


def close(actual: torch.Tensor, expected: list) -> bool:
    return torch.allclose(actual, torch.tensor(expected, dtype=actual.dtype), atol=1e-6)


def test_frame_colours_of_forty_frames() -> None:
    rgb = colours.frame_colours(40)
    assert close(rgb[[0, 19, 39]], [[.95, .05, 0], [0, 1, 0], [0, 0, 1]])
    assert close(rgb[1:, 2].diff()[20:], [.05] * 18)


def test_joint_colours_of_25_joints() -> None:
    assert close(colours.joint_colours(25)[[0, 24]], [[.92, .08, 0], [0, 0, 1]])


@given(st.integers(1, 400), st.sampled_from(["s/S", "(s-1)/(S-1)"]))
def test_colours_are_shares_of_one(count: int, rule: str) -> None:
    rgb = colours.index_colours(torch.arange(count), count, rule)
    assert torch.allclose(rgb.sum(1), torch.ones(count, dtype=rgb.dtype), atol=1e-12)
    assert (rgb >= 0).all()
    assert (rgb <= 1).all()
    assert len(torch.unique(rgb, dim=0)) == count


def test_coarse_rules() -> None:
    index = torch.arange(4)
    plain = [[.5, .5, 0], [0, 1, 0], [0, .5, .5], [0, 0, 1]]
    spread = [[1, 0, 0], [1 / 3, 2 / 3, 0], [0, 2 / 3, 1 / 3], [0, 0, 1]]
    assert close(colours.index_colours(index, 4), plain)
    assert close(colours.index_colours(index, 4, "(s-1)/(S-1)"), spread)


@pytest.mark.parametrize(("frames", "segments"), [(40, 5), (40, 8), (37, 5), (3, 5), (40, 1)])
def test_segments_are_consecutive_and_nearly_equal(frames: int, segments: int) -> None:
    rgb = colours.segment_colours(frames, segments)
    _, run, counts = torch.unique_consecutive(rgb, dim=0, return_inverse=True, return_counts=True)
    assert len(counts) == min(frames, segments)
    assert len(torch.unique(rgb, dim=0)) == len(counts)
    assert counts.max() - counts.min() <= (0 if frames % segments == 0 else 1)
    assert (run.diff() >= 0).all()
    assert close(rgb[-1], [0, 0, 1])


def test_persons() -> None:
    assert close(colours.person_colours(2), [[1, 0, 0], [0, 0, 1]])
    assert close(colours.person_colours(3), [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    five = colours.person_colours(5)
    assert close(five[[0, 2, 4]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert len(torch.unique(five, dim=0)) == 5


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("parts", [5, 10])
def test_every_joint_has_one_part(name: str, parts: int) -> None:
    members = colours.part_members(LAYOUTS[name], parts)
    assert members.shape == (parts, LAYOUTS[name].num_joints)
    assert (members.sum(0) == 1).all()
    assert (members.sum(1) >= 1).all()
    table = LAYOUTS[name].parts if parts == 5 else LAYOUTS[name].parts10
    assert all(members[p, j] for p, joints in enumerate(table) for j in joints)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("colour", ["temporal", "spatial", "person"])
def test_what_a_stream_depends_on(colour: str, coarse: bool) -> None:
    layout = LAYOUTS["kinect_v2_25"].with_persons(3)
    cfg = Config(streams=(colour,), granularity="both")
    stream = streams.Stream(colour, coarse and colour != "person")
    rgb = streams.stream_colours(stream, cfg, (3, 10, 25), colours.part_members(layout, 5))
    assert rgb.shape == (3, 10, 25, 3)
    varies = [bool((rgb != rgb.select(axis, 0).unsqueeze(axis)).any()) for axis in range(3)]
    assert varies == [colour == "person", colour == "temporal", colour == "spatial"]


def test_coarse_spatial_colours_are_those_of_parts() -> None:
    layout = LAYOUTS["kinect_v1_20"]
    cfg = Config(granularity="coarse", parts=10)
    rgb = streams.stream_colours(streams.Stream("spatial", True), cfg, (1, 1, 20),
                                 colours.part_members(layout, 10))[0, 0]
    expected = colours.index_colours(torch.arange(10), 10)
    for part, joints in enumerate(layout.parts10):
        assert torch.equal(rgb[list(joints)], expected[part].expand(len(joints), 3))
