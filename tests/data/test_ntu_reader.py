"""The `.skeleton` parsers (both) and the NTU readers, on text written token for token in the archives' form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.raw_ntu import ID, number, recording, skeleton_lines, standing, to_bytes, write_clip
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.layouts import get_layout
from ssl_skel.data.readers import ntu_text
from ssl_skel.data.readers.base import Dropped
from ssl_skel.data.readers.fast import compiled
from ssl_skel.data.readers.ntu import Ntu60Reader, NtuReader, split_bodies
from ssl_skel.data.readers.ntu_text import SkeletonText, parse_skeleton, parse_with_numpy
from ssl_skel.errors import BadData, DataMissing

NAME = "S001C002P003R002A013"


def parse_compiled(data: bytes) -> SkeletonText:
    fast = compiled("ssl_skel.data.readers.ntu_numba")
    assert fast is not None
    columns = fast.parse(data)
    assert columns is not None, "the compiled parser gave a regular file away"
    return SkeletonText(*columns)


PARSERS = pytest.mark.parametrize("parse", [parse_with_numpy, parse_compiled])


def as_printed(xyz: np.ndarray) -> np.ndarray:
    """float32 of what the file's seven digits say."""
    return np.array([float(number(value)) for value in xyz.ravel().tolist()]).astype(np.float32).reshape(xyz.shape)


def same(a: SkeletonText, b: SkeletonText) -> bool:
    return a.frames == b.frames and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") and x.dtype == y.dtype
        for x, y in zip((a.frame, a.body, a.xyz, a.state), (b.frame, b.body, b.xyz, b.state)))


@PARSERS
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_values_states_and_bodies(parse, end):
    one, two = standing(5, 1), standing(3, 2)
    frames = recording({ID: (0, one), ID + 4: (2, two)}, 5)
    frames.insert(1, {})
    text = parse(to_bytes(skeleton_lines(frames, {(0, ID, 7): 0, (3, ID + 4, 24): 1}), end))
    assert text.frames == 6
    assert text.frame.tolist() == [0, 2, 3, 3, 4, 4, 5, 5]
    assert text.body.tolist() == [ID, ID, ID, ID + 4, ID, ID + 4, ID, ID + 4]
    np.testing.assert_array_equal(text.xyz[text.body == ID], as_printed(one))
    np.testing.assert_array_equal(text.xyz[text.body == ID + 4], as_printed(two))
    assert text.state[0, 7] == 0
    assert text.state[3, 24] == 1
    assert (text.state == 2).sum() == text.state.size - 2


def test_body_ids_that_one_double_would_merge():
    assert float(ID) == float(ID + 4)
    text = parse_skeleton(to_bytes(skeleton_lines([{ID: standing(1)[0], ID + 4: standing(1, 1)[0]}] * 12)))
    assert [body.name for body in split_bodies(text)] == [str(ID), str(ID + 4)]


@PARSERS
@given(st.lists(st.one_of(
    st.floats(-100, 100).map(repr), st.floats(-100, 100).map(number), st.floats(-1e-4, 1e-4).map(number),
    st.integers(-10**15 + 1, 10**15 - 1).map(str), st.sampled_from(["-0", "+1.5", ".5", "5.", "0.1e1", "1e-05"]),
), min_size=75, max_size=75))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_the_float32_of_the_nearest_double(parse, tokens):
    lines = skeleton_lines([{ID: standing(1)[0]}])
    for joint in range(25):
        lines[4 + joint] = " ".join(tokens[3 * joint:3 * joint + 3] + lines[4 + joint].split()[3:])
    data = to_bytes(lines)
    expected = np.array([float(token) for token in tokens]).astype(np.float32).reshape(1, 25, 3)
    if parse is parse_compiled and compiled("ssl_skel.data.readers.ntu_numba").parse(data) is None:
        assert max(sum(c.isdigit() for c in token) for token in tokens) > 15
        parse = parse_skeleton
    np.testing.assert_array_equal(parse(data).xyz, expected)


def broken(change) -> bytes:
    lines = skeleton_lines(recording({ID: (0, standing(3))}, 3))
    return to_bytes(change(lines))


def edit(line: int, field: int, token: str):
    def change(lines: list[str]) -> list[str]:
        fields = lines[line].split()
        fields[field] = token
        return [*lines[:line], " ".join(fields), *lines[line + 1:]]
    return change


BROKEN = {
    "cut between frames": (lambda lines: lines[:1 + 28], "cut off after 1 of 3 frames"),
    "cut in a frame": (lambda lines: lines[:40], "cut off in frame 2 of 3"),
    "cut in a line": (lambda lines: [*lines[:-1], " ".join(lines[-1].split()[:3])], "line 85: 3 fields, expected 12"),
    "cut before the state": (lambda lines: [*lines[:-1], lines[-1][:-2]], "line 85: 11 fields, expected 12"),
    "20 joints": (edit(3, 0, "20"), "line 4: joint count '20', expected 25"),
    "a word for a coordinate": (edit(10, 1, "abc"), "line 11: 'abc' is not a number"),
    "a word in a field that is not read": (edit(10, 6, "abc"), "line 11: 'abc' is not a number"),
    "two points": (edit(10, 1, "1.2.3"), "line 11: '1.2.3' is not a number"),
    "only a sign": (edit(10, 0, "-"), "line 11: '-' is not a number"),
    "an exponent without digits": (edit(10, 0, "1e"), "line 11: '1e' is not a number"),
    "tracking state 3": (edit(10, 11, "3"), "line 11: tracking state '3' is not 0, 1 or 2"),
    "tracking state 22": (edit(10, 11, "22"), "tracking state '22' is not 0, 1 or 2"),
    "body id with a point": (edit(2, 0, "7.2e16"), "line 3: '7.2e16' is not a whole number"),
    "body id beyond 64 bits": (edit(2, 0, "18446744073709551616"), "is not a whole number below 18446744073709551616"),
    "frame count of a word": (edit(0, 0, "1.5"), "line 1: '1.5' is not a whole number"),
    "negative frame count": (edit(0, 0, "-3"), "line 1: '-3' is not a whole number"),
    "no frames": (lambda lines: ["0"], "line 1: no frames"),
    "too few frames announced": (edit(0, 0, "2"), "line 58: text after the last of 2 frames"),
    "huge frame count": (edit(0, 0, "999999"), "cut off after 3 of 999999 frames"),
    "huge body count": (edit(1, 0, "99"), "cut off in frame 1 of 3"),
    "missing joint line": (lambda lines: lines[:8] + lines[9:], "line 29: 1 fields, expected 12"),
    "blank line": (lambda lines: [*lines[:8], "", *lines[8:]], "line 9: 0 fields, expected 12"),
    "empty file": (lambda lines: [], "line 1: 0 fields where a count should stand"),
}


@pytest.mark.parametrize("fast", ["0", "1"])
@pytest.mark.parametrize("what", BROKEN)
def test_broken_text_is_refused_with_its_line(what, fast, monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    change, message = BROKEN[what]
    with pytest.raises(BadData) as error:
        parse_skeleton(broken(change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("token", ["NaN", "-nan", "inf", "-1.#IND", "1.#INF", "1e400", "4e38"])
def test_a_number_that_is_not_finite_makes_the_joint_invalid(token):
    text = parse_skeleton(broken(edit(10, 1, token)))
    assert np.isnan(text.xyz[0, 6, 1])
    body = split_bodies(text)[0]
    assert not body.valid[0, 6]
    assert body.valid.sum() == body.valid.size - 1
    assert np.isfinite(body.xyz).all()


def test_blanks_doubled_leading_and_trailing():
    lines = skeleton_lines(recording({ID: (0, standing(2))}, 2))
    spaced = [f" {line.replace(' ', '  ')}\t" for line in lines]
    assert same(parse_skeleton(to_bytes(spaced)), parse_skeleton(to_bytes(lines)))


def test_compiled_code_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", "0")
    assert compiled("ssl_skel.data.readers.ntu_numba") is None


def test_without_numba_the_careful_parser_reads(monkeypatch):
    data = broken(lambda lines: lines)
    fast = parse_skeleton(data)
    monkeypatch.setattr(ntu_text, "compiled", lambda module: None)
    assert same(parse_skeleton(data), fast)


def read(reader, path: Path):
    return list(reader.read(path))


def test_reader_gives_names_fields_and_validity(tmp_path):
    xyz = standing(20)
    path = tmp_path / f"{NAME}.skeleton"
    path.write_bytes(to_bytes(skeleton_lines(recording({ID: (0, xyz)}, 20), {(4, ID, 9): 0, (5, ID, 9): 1})))
    (clip,) = read(NtuReader(), path)
    assert isinstance(clip, RawClip)
    assert (clip.name, clip.label, clip.subject, clip.view, clip.setup, clip.repetition) == (NAME, 12, 3, 2, 1, 2)
    check_clip(clip, get_layout("kinect_v2_25", 2))
    np.testing.assert_array_equal(clip.xyz[0][clip.valid[0]], as_printed(xyz)[clip.valid[0]])
    assert np.argwhere(~clip.valid).tolist() == [[0, 4, 9]]


@pytest.mark.parametrize("reader", [NtuReader(), Ntu60Reader()])
def test_listed_clips_are_dropped_by_rule_before_they_are_read(reader, tmp_path):
    path = tmp_path / "S001C002P005R002A008.skeleton"
    path.write_text("not a skeleton")
    assert [(item.name, item.rule) for item in read(reader, path)] == [(path.stem, "missing-skeletons-list")]


def test_the_longer_list_names_clips_of_the_new_setups(tmp_path):
    path = write_clip(tmp_path, "S019C001P046R001A075", standing(2))
    assert isinstance(read(NtuReader(), path)[0], Dropped)


def test_dropped_bodies_are_reported_by_rule(tmp_path):
    path = tmp_path / f"{NAME}.skeleton"
    frames = recording({ID: (0, standing(40)), 9: (3, standing(11, 1))}, 40)
    path.write_bytes(to_bytes(skeleton_lines(frames)))
    dropped, clip = read(NtuReader(), path)
    assert (dropped.name, dropped.rule, dropped.why) == (f"{NAME}:9", "body-short", "seen in 11 frames")
    assert clip.xyz.shape == (1, 40, 25, 3)


def test_a_recording_of_nobody_is_dropped(tmp_path):
    path = tmp_path / f"{NAME}.skeleton"
    path.write_bytes(b"2\r\n0\r\n0\r\n")
    (item,) = read(NtuReader(), path)
    assert item.rule == "no-body"


def test_one_body_twice_in_a_frame_is_refused(tmp_path):
    lines = skeleton_lines([{1: standing(1)[0], 2: standing(1)[0]}])
    lines = ["1" + line[1:] if line.startswith("2 0 1") else line for line in lines]
    path = tmp_path / f"{NAME}.skeleton"
    path.write_bytes(to_bytes(lines))
    with pytest.raises(BadData, match="body 1 stands twice in one frame"):
        read(NtuReader(), path)


def test_discover_looks_below_and_knows_which_set_a_clip_is_of(tmp_path):
    for folder, name in (("a/b", NAME), ("c", "S018C001P008R001A061")):
        (tmp_path / folder).mkdir(parents=True)
        write_clip(tmp_path / folder, name, standing(2))
    (tmp_path / "c" / "notes.txt").write_text("x")
    assert [path.stem for path in NtuReader().discover(tmp_path)] == [NAME, "S018C001P008R001A061"]
    assert [path.stem for path in Ntu60Reader().discover(tmp_path)] == [NAME]


def test_discover_refuses_what_is_not_this_dataset(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataMissing, match="no NTU files"):
        NtuReader().discover(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder, NAME, standing(1))
    with pytest.raises(BadData, match="two files of one name"):
        NtuReader().discover(tmp_path)


@pytest.mark.parametrize("name", ["S001C001P001R001A061", "S001C001P001R001A000", "S1C1P1R1A1", "x"])
def test_names_that_are_not_of_the_set(name, tmp_path):
    path = write_clip(tmp_path, name, standing(1))
    with pytest.raises(BadData, match=name):
        read(Ntu60Reader(), path)


def outcome(parse, data: bytes) -> SkeletonText | str:
    try:
        return parse(data)
    except BadData as error:
        return str(error)


VALID = to_bytes(skeleton_lines(recording({ID: (0, standing(3)), 5: (1, standing(2, 3))}, 3)))


@given(st.lists(st.tuples(st.sampled_from(["flip", "cut", "drop", "double", "insert"]),
                          st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=2000)
def test_mutated_files_give_a_recording_or_bad_data(changes):
    data = VALID
    for kind, at, junk in changes:
        at = min(at, len(data))
        data = {"flip": data[:at] + junk[:1] + data[at + 1:], "cut": data[:at], "drop": data[:at] + data[at + 40:],
                "double": data[:at] + data[max(0, at - 90):], "insert": data[:at] + junk + data[at:]}[kind]
    first, second = outcome(parse_with_numpy, data), outcome(parse_skeleton, data)
    assert first == second if isinstance(first, str) else same(first, second)
