"""PKU-MMD: the text, the label files, and the one index rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.raw_ntu import standing
from helpers.raw_others import pku_text, write_pku
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.layouts import get_layout
from ssl_skel.data.readers.base import Dropped
from ssl_skel.data.readers.pku import Pku1Reader, Pku2Reader, parse_labels, parse_video
from ssl_skel.errors import BadData, DataMissing

FRAMES = 30


@pytest.fixture
def person():
    return np.round(standing(FRAMES), 6)


def clips(reader, path):
    return list(reader.read(path))


def test_frames_count_from_zero_and_the_end_is_left_out(tmp_path, person):
    path = write_pku(tmp_path, "0002-M", pku_text(person), [(51, 0, 10, 2), (1, 10, FRAMES, 1)])
    first, second = clips(Pku1Reader(), path)
    np.testing.assert_allclose(first.xyz[0], person[:10], atol=1e-6)
    np.testing.assert_allclose(second.xyz[0], person[10:], atol=1e-6)
    assert (first.name, first.label, first.subject, first.view, first.repetition) == ("0002-M-001", 50, 2, 2, 1)
    assert (second.name, second.label) == ("0002-M-002", 0)
    for clip in (first, second):
        check_clip(clip, get_layout("kinect_v2_25", 2))


def test_part_two_names_give_script_and_performer(tmp_path, person):
    path = write_pku(tmp_path, "A20N07-R", pku_text(person), [(3, 1, 5, 0)])
    (clip,) = clips(Pku2Reader(), path)
    assert (clip.subject, clip.setup, clip.view) == (7, 20, 3)


def test_a_body_of_zeros_is_nobody_and_one_zero_joint_is_not_seen(tmp_path, person):
    second = np.round(standing(FRAMES, 1), 6)
    second[:12] = 0
    person[3, 7] = 0
    xyz, valid = parse_video(pku_text(person, second))
    assert xyz.shape == (2, FRAMES, 25, 3)
    assert not valid[1, :12].any()
    assert valid[1, 12:].all()
    assert np.argwhere(~valid[0]).tolist() == [[3, 7]]


def test_rows_out_of_order_overlapping_and_of_any_confidence_are_kept(tmp_path, person):
    rows = [(5, 20, 28, 0), (6, 2, 12, 1), (7, 10, 22, 2)]
    path = write_pku(tmp_path, "0003-L", pku_text(person), rows)
    found = clips(Pku1Reader(), path)
    assert [(clip.label, clip.xyz.shape[1]) for clip in found] == [(4, 8), (5, 10), (6, 12)]
    assert len({clip.name for clip in found}) == 3


@pytest.mark.parametrize(("row", "rule"), [
    ((5, 20, 10, 2), "start-not-before-end"), ((5, 9, 9, 2), "start-not-before-end"),
    ((5, 20, FRAMES + 1, 2), "beyond-video"), ((5, FRAMES, FRAMES + 5, 2), "beyond-video"),
])
def test_rows_dropped_by_rule_leave_the_others(row, rule, tmp_path, person):
    path = write_pku(tmp_path, "0004-L", pku_text(person), [row, (1, 0, 5, 2)])
    dropped, kept = clips(Pku1Reader(), path)
    assert isinstance(dropped, Dropped)
    assert (dropped.name, dropped.rule) == ("0004-L-001", rule)
    assert isinstance(kept, RawClip)
    assert kept.name == "0004-L-002"


def test_a_row_in_which_nobody_stands_is_dropped(tmp_path, person):
    person[:10] = 0
    path = write_pku(tmp_path, "0004-L", pku_text(person), [(1, 0, 10, 2)])
    assert [item.rule for item in clips(Pku1Reader(), path)] == ["no-body"]


def test_the_mistyped_row_of_0043_l_is_mended_and_no_other(tmp_path):
    xyz = np.ones((5040, 25, 3), np.float32)
    (mended,) = clips(Pku1Reader(), write_pku(tmp_path, "0043-L", pku_text(xyz), [(1, 4925, 4036, 2)]))
    assert mended.xyz.shape[1] == 5036 - 4925
    (other,) = clips(Pku1Reader(), write_pku(tmp_path / "b", "0043-M", pku_text(xyz), [(1, 4925, 4036, 2)]))
    assert other.rule == "start-not-before-end"


@pytest.mark.parametrize(("text", "message"), [
    (b"1,2,3\r\n", "line 1: 3 fields"), (b"1,2,3,1\n2,3,4,1,5\n", "line 2: 5 fields"),
    (b"1,a,3,1\n", "line 1: 'a' is not a whole number"), (b"1,-2,3,1\n", "'-2' is not a whole number"),
    (b"0,1,3,1\n", "action 0 is not one of 1 to 51"), (b"1,2,3,1\n52,1,3,1\n", "line 2: action 52"),
    (b"1,1.5,3,1\n", "'1.5' is not a whole number"), (b"", "line 1: 0 fields"),
    (b"\n1,2,3,1\n\n52,1,3,1\n", "line 4: action 52"), (b"1,2,3,1\n\n2,3,4\n", "line 3: 3 fields"),
])
def test_bad_label_files(text, message):
    with pytest.raises(BadData, match=message):
        parse_labels(text)


def test_label_files_with_blanks_and_either_line_end():
    expected = [(1, 2, 3), (51, 40, 50)]
    for text in (b"1,2,3,1\n51,40,50,2", b"1, 2, 3, 1\r\n51,40,50,2\r\n\r\n", b"\r\n1,2,3,1\r\n\r\n \n51,40,50,2 \r\n"):
        assert parse_labels(text) == expected


@pytest.mark.parametrize(("change", "message"), [
    (lambda text: text[:-40], "line 30: .* numbers, expected 150"),
    (lambda text: text.replace(b"\n", b" 1.0\n", 1), "line 1: 151 numbers"),
    (lambda text: b"x" + text[1:], "line 1: 'x.* is not a number"),
    (lambda text: b"", "line 1: 0 numbers"),
])
def test_bad_skeleton_files(change, message, person):
    with pytest.raises(BadData, match=message):
        parse_video(change(pku_text(person)))


def test_numbers_of_seventeen_digits_are_read_exactly():
    xyz = np.random.default_rng(0).normal(size=(4, 150))
    text = "\n".join(" ".join(map(repr, row)) for row in xyz.tolist()).encode()
    found, _ = parse_video(text)
    np.testing.assert_array_equal(found.swapaxes(0, 1).reshape(4, 150), xyz.astype(np.float32))


def test_discover_pairs_files_in_the_official_folders_and_in_flat_ones(tmp_path, person):
    write_pku(tmp_path / "a", "0002-L", pku_text(person), [(1, 0, 5, 2)])
    write_pku(tmp_path / "a", "A01N01-L", pku_text(person), [(1, 0, 5, 2)])
    flat = tmp_path / "b"
    flat.mkdir()
    (flat / "0002-L.skeleton").write_bytes(pku_text(person))
    (flat / "0002-L.label").write_bytes(b"1,0,5,2\n")
    for raw in (tmp_path / "a", flat):
        files = Pku1Reader().discover(raw)
        assert [path.stem for path in files] == ["0002-L", "0002-L"]
        assert [len(clips(Pku1Reader(), path)) for path in files] == [1, 0]


def test_a_file_without_its_other_half(tmp_path, person):
    write_pku(tmp_path, "0002-L", pku_text(person), [(1, 0, 5, 2)])
    write_pku(tmp_path, "0003-L", pku_text(person), None)
    write_pku(tmp_path, "0004-L", None, [(1, 0, 5, 2)])
    reader = Pku1Reader()
    outcome = {}
    for path in reader.discover(tmp_path):
        try:
            outcome.setdefault(path.stem, []).append(len(clips(reader, path)))
        except BadData as error:
            outcome[path.stem] = str(error)
    assert outcome == {"0002-L": [1, 0], "0003-L": "0003-L.txt: a skeleton file without its label file",
                       "0004-L": "0004-L.txt: a label file without its skeleton file"}


def test_empty_files_are_known_by_their_folder_and_fail_alone(tmp_path, person):
    write_pku(tmp_path, "0002-L", pku_text(person), [(1, 0, 5, 2)])
    write_pku(tmp_path, "0003-L", pku_text(person), [])
    write_pku(tmp_path, "0004-L", b"", [(1, 0, 5, 2)])
    files = Pku1Reader().discover(tmp_path)
    assert len(files) == 6
    assert [len(clips(Pku1Reader(), path)) for path in files[:2]] == [1, 0]
    for path in (files[2], files[4]):
        with pytest.raises(BadData, match=r"line 1: 0 (fields|numbers)"):
            clips(Pku1Reader(), path)


def test_a_folder_without_label_files(tmp_path, person):
    write_pku(tmp_path, "0002-L", pku_text(person), None)
    with pytest.raises(DataMissing, match="no PKU-MMD label files"):
        Pku1Reader().discover(tmp_path)


VIDEO = pku_text(standing(3))


@given(st.integers(0, len(VIDEO)), st.binary(max_size=8), st.booleans())
@settings(max_examples=150, deadline=2000)
def test_mutated_videos_and_labels_give_arrays_or_bad_data(at, junk, cut):
    data = VIDEO[:at] + junk + (b"" if cut else VIDEO[at + len(junk):])
    try:
        xyz, valid = parse_video(data)
        assert np.isfinite(xyz[valid]).all()
    except BadData as error:
        assert "line" in str(error)  # noqa: PT017
    labels = b"1,2,30,1\n2,40,50,2\n"
    try:
        for action, start, end in parse_labels(labels[:at % 19] + junk + labels[at % 19:]):
            assert 1 <= action <= 51
            assert start >= 0
            assert end >= 0
    except BadData as error:
        assert "line" in str(error)  # noqa: PT017
