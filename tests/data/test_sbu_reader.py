"""SBU Kinect: two persons, image coordinates turned into metres; checked on the real set where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.raw_others import sbu_text, write_sbu
from ssl_skel.data.catalog import get_card
from ssl_skel.data.clip import check_clip
from ssl_skel.data.layouts import NITE_15
from ssl_skel.data.readers.sbu import SbuReader, parse_sequence
from ssl_skel.errors import BadData, DataMissing

REAL = Path(os.environ.get("SSL_SKEL_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sbu-kinect"


def image(frames: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 1.9, (frames, 2, 15, 3)).round(4)


def test_metres_with_y_up_and_z_from_the_z_column(tmp_path):
    raw = image()
    path = write_sbu(tmp_path, "s02s06_07_003", sbu_text(raw))
    (clip,) = SbuReader().read(path)
    check_clip(clip, NITE_15.with_persons(2))
    x, y, z = raw.transpose(1, 0, 2, 3)[..., 0], raw.transpose(1, 0, 2, 3)[..., 1], raw.transpose(1, 0, 2, 3)[..., 2]
    np.testing.assert_allclose(clip.xyz[..., 0], (1280 - 2560 * x) / 1000, atol=1e-6)
    np.testing.assert_allclose(clip.xyz[..., 1], (960 - 1920 * y) / 1000, atol=1e-6)
    np.testing.assert_allclose(clip.xyz[..., 2], 10 * z / 7.8125, atol=1e-6)
    assert (clip.name, clip.label, clip.subject, clip.repetition) == ("s02s06_07_003", 6, 6, 3)


def test_zeros_are_not_seen():
    raw = image()
    raw[2, 1, 4] = 0
    _, valid = parse_sequence(sbu_text(raw))
    assert np.argwhere(~valid).tolist() == [[1, 2, 4]]


@pytest.mark.parametrize(("change", "message"), [
    (lambda text: text[:-20], "line 6: .* numbers, expected 91"), (lambda text: b"", "line 1: 0 numbers"),
    (lambda text: text.replace(b"0.", b"zero", 1), "line 1: 'zero.* is not a number"),
])
def test_bad_files(change, message, tmp_path):
    path = write_sbu(tmp_path, "s01s02_01_001", change(sbu_text(image())))
    with pytest.raises(BadData, match=f"s01s02_01_001: {message}"):
        list(SbuReader().read(path))


@pytest.mark.parametrize("name", ["s01s04_01_001", "s01s02_09_001", "s01s02_00_001"])
def test_pairs_and_classes_that_are_not_of_the_set(name, tmp_path):
    with pytest.raises(BadData, match=r"pairs of actors|class"):
        list(SbuReader().read(write_sbu(tmp_path, name, sbu_text(image()))))


def test_discover(tmp_path):
    with pytest.raises(DataMissing, match="no SBU files"):
        SbuReader().discover(tmp_path)
    for place in ("a", "b"):
        write_sbu(tmp_path / place, "s01s02_01_001", sbu_text(image()))
    assert len(SbuReader().discover(tmp_path / "a")) == 1
    with pytest.raises(BadData, match="two files of one name"):
        SbuReader().discover(tmp_path)


@given(st.integers(0, 4000), st.binary(max_size=8))
@settings(max_examples=100, deadline=2000)
def test_mutated_files_give_arrays_or_bad_data(at, junk):
    text = sbu_text(image(3))
    try:
        xyz, valid = parse_sequence(text[:at] + junk + text[at + len(junk):])
        assert np.isfinite(xyz[valid]).all()
    except BadData as error:
        assert "line" in str(error)  # noqa: PT017


@pytest.mark.real_data
def test_the_real_set():
    if not REAL.is_dir():
        pytest.skip(f"no real SBU data in {REAL}")
    reader, card = SbuReader(), get_card("sbu")
    layout = card.get_layout()
    clips = [clip for path in reader.discover(REAL) for clip in reader.read(path)]
    for clip in clips:
        check_clip(clip, layout)
    assert len(clips) == 282
    assert sum(clip.xyz.shape[1] for clip in clips) == 6822
    assert {clip.subject for clip in clips} == set(range(1, 22))
    assert {clip.label for clip in clips} == set(range(8))
    assert all(clip.valid.all() and len(clip.xyz) == 2 for clip in clips)
    head, feet = [np.median([clip.xyz[:, :, joint, 1].mean() for clip in clips]) for joint in (0, 11)]
    assert 1.0 < head - feet < 1.8
    child, parent = np.array(layout.bones).T
    spread = [np.linalg.norm(clip.xyz[:, :, child] - clip.xyz[:, :, parent], axis=3) for clip in clips]
    assert np.mean([(bones.std(axis=1) / bones.mean(axis=1)).mean() for bones in spread]) < 0.03
