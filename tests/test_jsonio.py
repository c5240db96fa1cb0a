from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_skel.jsonio import MAX_DEPTH, parse_json, read_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_what_was_written_is_read(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value).encode(), finite=True) == value


def test_depth_is_bounded() -> None:
    deepest = "[" * (MAX_DEPTH - 1) + "0" + "]" * (MAX_DEPTH - 1)
    assert parse_json(deepest)
    for levels in (MAX_DEPTH, 5000, 200_000):
        with pytest.raises(ValueError, match="nested deeper than 100 levels"):
            parse_json('{"a":' * levels + "0" + "}" * levels)


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2, NaN]}')
    assert list(read_json(path, 100)) == ["a"]
    with pytest.raises(ValueError, match="NaN is no JSON number"):
        parse_json(path.read_text(), finite=True)
    assert parse_json("1e999") == float("inf")
    with pytest.raises(ValueError, match="1e999 is too large"):
        parse_json("[1e999]", finite=True)
    with pytest.raises(ValueError, match="larger than"):
        read_json(path, 10)
    with pytest.raises(ValueError, match="a key stands twice"):
        parse_json('{"a": {"b": 1, "b": 2}}')
    with pytest.raises(ValueError, match="can't decode"):
        parse_json(b"{\xff}")
    (tmp_path / "link.json").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        read_json(tmp_path / "link.json", 100)
