"""Identity: equal values have equal ids, different ones don't, and a comment changes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel import ids

scalars = (st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
           | st.text(st.characters(exclude_categories=["Cs"]), max_size=10))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4), max_leaves=15)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return tuple(map(reordered, value)) if isinstance(value, list) else value


@given(values)
@settings(max_examples=200, deadline=None)
def test_order_of_keys_and_kind_of_sequence_do_not_matter(value: Any) -> None:
    assert ids.canonical(value) == ids.canonical(reordered(value))


@given(values)
@settings(max_examples=200, deadline=None)
def test_canonical_text_is_json_of_the_value(value: Any) -> None:
    assert json.loads(ids.canonical(value)) == json.loads(json.dumps(value))


@given(st.integers(-2**70, 2**70))
def test_a_whole_float_is_the_integer(number: int) -> None:
    if int(float(number)) == number:
        assert ids.canonical(float(number)) == ids.canonical(number)
    assert ids.canonical([1.0, -0.0]) == "[1,0]"


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_different_floats_differ(one: float, other: float) -> None:
    assert (ids.canonical(one) == ids.canonical(other)) == (one == other)


@pytest.mark.parametrize("value", [
    float("nan"), float("inf"), {"a": [float("-inf")]}, {1, 2}, b"x", Path("x"), object(), {1: "a", "1": "b"}])
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"no place in an id|same text"):
        ids.canonical(value)


def test_true_is_not_one_and_text_is_not_a_number() -> None:
    assert len({ids.canonical(v) for v in (True, 1, "1", None, "null", [1], {"1": 1})}) == 7


def test_ids_are_what_the_documentation_says() -> None:
    expected = hashlib.sha256(b'{"a":1,"b":[1,2]}').hexdigest()
    assert ids.digest({"b": (1, 2.0), "a": 1}) == expected
    assert ids.short_id({"b": (1, 2.0), "a": 1}) == expected[:16]


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert ids.file_sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


CODE = '''"""Doc."""
import os


class A:
    """Doc."""

    def f(self, x: int = 1) -> int:
        """Doc."""
        return x + 1
'''


@pytest.mark.parametrize("same", [
    CODE.replace("return x + 1", "return x + 1  # why"), CODE.replace('"""Doc."""', '"""Other."""'),
    CODE.replace('"""Doc."""\n', ""), CODE.replace("x + 1", "(x +\n            1)"), CODE + "\n\n# end\n",
    CODE.replace("\n", "\r\n")])
def test_code_digest_sees_no_comments_docstrings_or_layout(tmp_path: Path, same: str) -> None:
    assert digest_of(tmp_path / "a", CODE) == digest_of(tmp_path / "b", same)


@pytest.mark.parametrize("other", [
    CODE.replace("x + 1", "x + 2"), CODE.replace("int = 1", "int = 2"), CODE.replace("import os", "import sys"),
    CODE.replace("def f", "async def f"), CODE + "\nA.f = None\n", CODE.replace("return x", "'text'; return x")])
def test_code_digest_sees_code(tmp_path: Path, other: str) -> None:
    assert digest_of(tmp_path / "a", CODE) != digest_of(tmp_path / "b", other)


def test_code_digest_sees_names_of_files_but_not_their_order(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(f"x = '{name}'")
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    assert ids.code_digest(paths, tmp_path) == ids.code_digest(reversed(paths), tmp_path)
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert ids.code_digest(paths[:1], tmp_path) != ids.code_digest([paths[0], tmp_path / "c.py"], tmp_path)


def digest_of(folder: Path, code: str) -> str:
    folder.mkdir()
    (folder / "m.py").write_bytes(code.encode())
    return ids.code_digest([folder / "m.py"], folder)
