"""Spoils files: bytes flipped, cut, doubled and spliced, numbers and words exchanged, trees with odd values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

MAX_BYTES = 1 << 20

WORDS = (
    b"nan", b"inf", b"-inf", b"1e309", b"-1", b"0", b"-0.0", b"1e-400", b"99999999999999999999", b"2147483648",
    b"-9223372036854775809", b"0x10", b"1_000", b"1.5", b"true", b"null", b"~", b"", b" ", b"\t", b"\n", b"\r\n", b"\0",
    b",", b";", b"'", b'"', b"\\", b"[", b"]", b"{", b"}", b"../../etc/passwd", b"/etc/passwd", b"&a *a", b"*a",
    b"<<: {a: 1}", b"!!python/object/apply:os.system [ls]", b"? ", b"- ", b"---\n", b"#", b"%YAML 1.1\n",
    "\u202e".encode(), "\u0661".encode(), "\ufeff".encode(), b"<script>alert(1)</script>", b"=cmd()", b"\x1b[2J",
    b"x" * 300, b"\xff\xfe", b"\x80", b"\xed\xa0\x80")

INTEGERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**24, 2**31 - 1, -2**31, 2**32 - 1, 2**40, 2**62, -2**63)

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", " ", "a",
    "A B", "../x", "../../etc/passwd", "/etc/passwd", "a\nb", "<script>alert(1)</script>", "=1+1", "|x|`y`", "\x1b[2J",
    "\0", "\u202eabc", "\ud800", "x" * 200, "x" * 20_000, [], {}, [[]], [None], [1, 2, 3], ["a"], {"a": 1},
    {"": {"": []}}, {"__class__": "x"}, "fp32", "auto", "knn", "tiny", "tiny/xsub")


def spoil(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change some bytes.

    Args:
        rng: Decides everything.
        data: A sound file.
        others: Further files to take pieces from.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(_WAYS)(rng, data, others)[:MAX_BYTES]
    return data


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    begin = rng.randint(0, len(data))
    return begin, min(len(data), begin + rng.choice((1, 1, 2, 4, 8, 64, 1000)))


def _flip(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if spoilt:
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _noise(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:begin] + rng.randbytes(end - begin) + data[end:]


def _zeros(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:begin] + bytes(end - begin) + data[end:]


def _cut(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[:rng.randint(0, len(data))]


def _lose(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:begin] + data[end:]


def _double(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, data)
    return data[:end] + data[begin:end] * rng.choice((1, 2, 50)) + data[end:]


def _insert(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(WORDS) + data[at:]


def _deepen(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    piece = rng.choice((b"[", b"{", b'{"a":', b"- ", b"(", b"]", b"\x80")) * rng.choice((10, 1000, 100_000))
    return data[:at] + piece + data[at:]


def _word(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put an odd word in the place of one of the file's."""
    begin = rng.randint(0, len(data))
    while begin < len(data) and not data[begin:begin + 1].isalnum():
        begin += 1
    end = begin
    while end < len(data) and (data[end:end + 1].isalnum() or data[end] in b".-+_"):
        end += 1
    return data[:begin] + rng.choice(WORDS) + data[end:]


def _integer(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Write a binary integer over some bytes."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = rng.choice(INTEGERS) % 2 ** (8 * size)
    at = rng.randint(0, max(0, len(data) - size))
    return data[:at] + value.to_bytes(size, order) + data[at + size:]  # type: ignore[arg-type]


def _line(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Lose, double or move a line."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    here, there = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(3)
    if way == 0:
        del lines[here]
    elif way == 1:
        lines.insert(there, lines[here])
    else:
        lines[here], lines[there] = lines[there], lines[here]
    return b"".join(lines)


def _splice(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others) if others else data
    return data[:rng.randint(0, len(data))] + other[rng.randint(0, len(other)):]


_WAYS: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _noise, _zeros, _cut, _lose, _double, _insert, _deepen, _word, _word, _word, _integer, _integer,
    _line, _splice)


def spoil_tree(rng: Random, tree: Any) -> Any:
    """Change some values of nested dicts and lists: odd values, lost, renamed, new and exchanged keys."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            return rng.choice(ODD)
        holder, key = rng.choice(places)
        way = rng.randrange(8)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice(("extra", "", "../x", "a" * 100, "<b>"))] = holder.pop(key)
        elif way == 2:
            other, there = rng.choice(places)
            if there in (other if isinstance(other, dict) else range(len(other))):
                holder[key] = copy.deepcopy(other[there])
        elif way == 3:
            holder[key] = _deep(rng.choice((5, 60, 400)), rng.choice(ODD))
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return tree


def _places(tree: Any) -> Any:
    """(container, key) of every value of a tree."""
    if isinstance(tree, dict | list):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            yield tree, key
            yield from _places(value)


def _deep(levels: int, value: Any) -> Any:
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value
