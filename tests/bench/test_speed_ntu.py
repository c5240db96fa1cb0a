"""The `.skeleton` parser is as much faster than a plain one as is claimed, and reads the same."""

from __future__ import annotations

import time

import pytest

from ssl_skel.bench.speed import measure
from ssl_skel.bench.speed_ntu import parse_by_line, skeleton_text
from ssl_skel.data.readers.fast import compiled
from ssl_skel.data.readers.ntu_text import parse_skeleton, parse_with_numpy


def fastest(parse, text: bytes, runs: int) -> float:
    """Shortest of many short runs: on a shared machine the only one that tells about the code."""
    parse(text)
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        parse(text)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def test_the_parser_is_three_times_as_fast_and_eight_times_compiled():
    text = skeleton_text(60, 1)
    peer = fastest(parse_by_line, text, 20)
    assert peer / fastest(parse_with_numpy, text, 200) > 3
    if compiled("ssl_skel.data.readers.ntu_numba"):
        assert peer / fastest(parse_skeleton, text, 200) > 8


def test_bench_speed_reports_both():
    result = measure("ntu-reader", {"batch": 3, "repeats": 3})
    assert result["ratio"] == pytest.approx(result["peer_s"] / result["ours_s"])
    assert result.keys() >= {"what", "ours_s", "peer_s", "ours_peak_mb", "peer_peak_mb", "parts", "machine"}
    assert result["ratio"] > 2
    assert result["parts"]["text_mb"] > 0.7


@pytest.mark.parametrize("parse", [parse_skeleton, parse_with_numpy, parse_by_line])
def test_parsers(benchmark, parse):
    if parse is parse_skeleton and compiled("ssl_skel.data.readers.ntu_numba") is None:
        pytest.skip("numba is not installed")
    assert benchmark(parse, skeleton_text(40, 2)).frames == 40
