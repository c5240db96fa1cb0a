"""Decimal numbers out of text bytes, vectorised: the part that all text readers share.

A file is cut into tokens by one pass over its bytes; only the tokens that a reader asks for become numbers.
A token with a sign, at most 15 digits and one point is read by integer arithmetic, which gives the same double
as Python's `float` (an integer below 2^53 divided by a power of ten up to 10^22 is correctly rounded:
Clinger, "How to read floating point numbers accurately", 1990). Every other token goes through `float`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.errors import BadData

Int64s = NDArray[np.int64]

WIDTH = 24
EXACT_DIGITS = 15
EXACT_POWER = 22
MAX_FRAMES = 10**6
"""A count beyond is no count of frames, whatever the file is."""

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_NOT_FINITE = re.compile(rb"[+-]?(nan|inf(inity)?|1\.#(ind|inf|qnan|snan)\d*)", re.IGNORECASE)
_NUMBER_BYTES = b"0123456789+-.eE"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where the tokens of a text are.

    Attributes:
        text: The text, without CR, padded so that `WIDTH` bytes can be read at any token.
        chars: (n,) uint8, its bytes.
        starts: (k,) first byte of each token.
        ends: (k,) byte after each token.
        first: (lines + 1,) first token of each line; the last entry is k.
    """

    text: bytes
    chars: NDArray[np.uint8]
    starts: Int64s
    ends: Int64s
    first: Int64s

    @property
    def per_line(self) -> Int64s:
        """(lines,) number of tokens on each line."""
        return np.diff(self.first)

    def token(self, index: int) -> bytes:
        """The bytes of a token."""
        return self.text[self.starts[index]:self.ends[index]]

    def line_of(self, index: int) -> int:
        """Line of a token, from 1, as an editor counts."""
        return int(np.searchsorted(self.first, index, side="right"))


def tokenize(data: bytes, separators: bytes = b"") -> Tokens:
    """Cut a text into tokens at blanks and line ends.

    Args:
        data: Text with LF or CRLF line ends; blanks may be doubled, lead and trail.
        separators: Further bytes that separate tokens, e.g. ``b","``.

    Returns:
        The tokens; empty lines at the end of the file are not counted as lines.
    """
    blanks = bytes.maketrans(separators + b"\t", b" " * (len(separators) + 1))
    text = (data.rstrip() + b"\n" + bytes(WIDTH)).translate(blanks, b"\r")
    chars = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(chars[:-WIDTH] <= 32)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    newline = chars[ends] == 10
    full = ends > starts
    if full.all():
        first = np.concatenate([[0], np.flatnonzero(newline) + 1])
    else:
        first = np.concatenate([[0], np.cumsum(full)[newline]])
        starts, ends = starts[full], ends[full]
    return Tokens(text, chars, starts, ends, first.astype(np.int64))


def check_alphabet(tokens: Tokens, data: bytes, separators: bytes = b"") -> None:
    """Refuse a text in which a token is no number; cheap where all bytes can stand in one.

    Args:
        tokens: Of `data`.
        data: The text.
        separators: As in `tokenize`.

    Raises:
        BadData: Names the first token that is neither a number nor one of the ways to write "not finite".
    """
    if not data.translate(None, _NUMBER_BYTES + separators + b" \t\r\n"):
        return
    for index in range(len(tokens.starts)):
        token = tokens.token(index)
        if not _NUMBER.fullmatch(token) and not _NOT_FINITE.fullmatch(token):
            raise BadData(f"line {tokens.line_of(index)}: {shown(token)} is not a number")


def shown(token: bytes) -> str:
    """A token for a message: printable and short."""
    return ascii(token[:24].decode("latin-1")) + ("..." if len(token) > 24 else "")


def to_float(tokens: Tokens, which: Int64s) -> NDArray[np.float64]:
    """Turn tokens into the nearest doubles.

    Args:
        tokens: Of a text.
        which: (k,) token positions.

    Returns:
        (k,) doubles; NaN where the token is a way to write "not finite".

    Raises:
        BadData: Names line and token if one is no number.
    """
    starts = tokens.starts[which]
    values, plain = _plain_decimals(tokens.chars, starts, tokens.ends[which] - starts)
    if not plain.all():
        values[~plain] = _parse_odd(tokens, which[~plain])
    return values


_POWERS = 10.0 ** np.arange(EXACT_POWER + 1)
_COLUMNS = EXACT_DIGITS + 1
_COLUMN = np.arange(_COLUMNS, dtype=np.uint8)[:, None]
_TENS = 10 ** np.arange(_COLUMNS + 1, dtype=np.int64)
_POINT, _PLUS, _MINUS, _ZERO = (np.uint8(ord(char)) for char in ".+-0")


def _plain_decimals(chars: NDArray[np.uint8], starts: Int64s, width: Int64s) -> tuple[
    NDArray[np.float64], NDArray[np.bool_]
]:
    """Read tokens of sign, at most 15 digits and a point: one row for each of their characters, all tokens at once.

    Args:
        chars: Of the text, padded.
        starts: (k,) first byte of each token.
        width: (k,) bytes of each token.

    Returns:
        (k,) values, and (k,) bool: the token was of that simple form; other values mean nothing.
    """
    head = chars[starts]
    negative = head == _MINUS
    signed = negative | (head == _PLUS)
    width = width - signed
    found = _windows(chars, starts + signed)
    narrow = np.minimum(width, 255).astype(np.uint8)
    points = (found == _POINT) & (narrow > _COLUMN)
    pointed = points.any(axis=0)
    point = np.where(pointed, np.add.reduce(points * _COLUMN, axis=0, dtype=np.uint8), narrow)
    count = width - pointed
    digits = _without(found, point)
    digits *= count.clip(0, 255).astype(np.uint8) > _COLUMN
    plain = (digits < 10).all(axis=0) & (count > 0) & (count <= EXACT_DIGITS)
    mantissa = _whole(digits) // _TENS[np.where(plain, _COLUMNS - count, 0)]
    values = mantissa / _POWERS[np.where(plain, count - point, 0)]
    return np.where(negative, -values, values), plain


def _windows(chars: NDArray[np.uint8], starts: Int64s) -> NDArray[np.uint8]:
    """(16, k) bytes from each start on."""
    at_every_byte = np.ndarray((len(chars) - _COLUMNS + 1,), f"V{_COLUMNS}", chars, strides=(1,))
    return np.ascontiguousarray(at_every_byte[starts].view(np.uint8).reshape(-1, _COLUMNS).T)


def _without(found: NDArray[np.uint8], point: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(16, k) digits: the rows of `found` as numbers, moved up by one from row `point` on."""
    digits = found - _ZERO
    # Bits instead of np.where, which is five times as slow on bytes.
    moved = np.negative((_COLUMN[:-1] >= point).view(np.uint8))
    digits[:-1] ^= (digits[:-1] ^ digits[1:]) & moved
    return digits


def _whole(digits: NDArray[np.uint8]) -> Int64s:
    """(16, k) digits -> (k,) whole numbers; neighbours are joined in numbers just wide enough."""
    pairs = digits[0::2] * np.uint8(10) + digits[1::2]
    fours = pairs[0::2] * np.uint16(100) + pairs[1::2]
    eights = fours[0::2] * np.uint32(10_000) + fours[1::2]
    return np.asarray(eights[0] * np.int64(10**8) + eights[1])


def _parse_odd(tokens: Tokens, which: Int64s) -> NDArray[np.float64]:
    """Read tokens of any form: all at once if they are numbers of usual length, else one by one."""
    starts = tokens.starts[which]
    width = tokens.ends[which] - starts
    if len(which) > 64 and width.max() <= WIDTH:
        chars = np.lib.stride_tricks.sliding_window_view(tokens.chars, WIDTH)[starts]
        chars = np.where(np.arange(WIDTH) < width[:, None], chars, np.uint8(0))
        with suppress(ValueError):
            return chars.view(f"S{WIDTH}")[:, 0].astype(np.float64)
    return np.array([_parse_one(tokens, index) for index in which.tolist()])


def _parse_one(tokens: Tokens, index: int) -> float:
    token = tokens.token(index)
    if _NUMBER.fullmatch(token):
        return float(token)
    if _NOT_FINITE.fullmatch(token):
        return float("nan")
    raise BadData(f"line {tokens.line_of(index)}: {shown(token)} is not a number")


def to_ints(tokens: Tokens, which: Int64s, limit: int = 2**64) -> list[int]:
    """Read tokens as exact integers from 0 to `limit` - 1, whatever a double could hold.

    Args:
        tokens: Of a text.
        which: (k,) token positions.
        limit: First integer that is too large.

    Raises:
        BadData: Names line and token if one is anything else.
    """
    known: dict[bytes, int] = {}
    values = []
    for index, start, end in zip(which.tolist(), tokens.starts[which].tolist(), tokens.ends[which].tolist()):
        token = tokens.text[start:end]
        if token not in known:
            if not token.isdigit() or len(token) > 20 or int(token) >= limit:
                where = f"line {tokens.line_of(index)}"
                raise BadData(f"{where}: {shown(token)} is not a whole number below {limit}")
            known[token] = int(token)
        values.append(known[token])
    return values
