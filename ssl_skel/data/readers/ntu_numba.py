"""The `.skeleton` parser compiled by numba: one pass over the bytes, regular files only.

Anything irregular (a field that is not read by integer arithmetic, a count that does not fit, a byte that no
number holds) makes `parse` return None; the careful parser then reads the file or says what is wrong with it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ssl_skel.data.readers.text import EXACT_DIGITS, EXACT_POWER, MAX_FRAMES

Columns = tuple[int, NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]]

_POWERS = 10.0 ** np.arange(EXACT_POWER + 1)
_SPACE, _CR, _LF, _MINUS, _PLUS, _POINT, _ZERO, _E = 32, 13, 10, 45, 43, 46, 48, 101
_IN_NUMBER = np.zeros(256, np.bool_)
_IN_NUMBER[np.frombuffer(b"0123456789+-.eE", np.uint8)] = True
_MIN_BODY_BYTES = 10 * 2 + 3 + 25 * 12 * 2
_FAILED = -1


def parse(data: bytes) -> Columns | None:
    """Parse a regular file; see `ssl_skel.data.readers.ntu_text.SkeletonText` for the columns."""
    text = np.frombuffer(data.rstrip(b" \r\n") + b"\n\0", np.uint8)
    room = len(text) // _MIN_BODY_BYTES + 1
    frame, body = np.empty(room, np.int64), np.empty(room, np.uint64)
    xyz, state = np.empty((room, 25, 3), np.float32), np.empty((room, 25), np.uint8)
    frames, rows = _scan(text, frame, body, xyz, state)
    if frames <= 0:
        return None
    return int(frames), frame[:rows], body[:rows], xyz[:rows], state[:rows]


@njit(cache=True, nogil=True)
def _whole(text, at):  # type: ignore[no-untyped-def]
    """Read up to 19 digits; returns value and the position after them, or a position of -1."""
    value, start = np.uint64(0), at
    while _ZERO <= text[at] <= _ZERO + 9 and at - start < 19:
        value = value * np.uint64(10) + np.uint64(text[at] - _ZERO)
        at += 1
    return value, at if at > start else _FAILED


@njit(cache=True, nogil=True)
def _line_end(text, at):  # type: ignore[no-untyped-def]
    """Step over LF or CRLF; -1 if neither stands here."""
    if at >= 0 and text[at] == _CR:
        at += 1
    return at + 1 if at >= 0 and text[at] == _LF else _FAILED


@njit(cache=True, nogil=True)
def _count(text, at):  # type: ignore[no-untyped-def]
    """Read a line that holds one whole number; returns it and the start of the next line."""
    value, at = _whole(text, at)
    return np.int64(value), _line_end(text, at)


@njit(cache=True, nogil=True)
def _exponent(text, at):  # type: ignore[no-untyped-def]
    """Read the sign and up to two digits of an exponent; returns it and the position after it."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    value, start = 0, at
    while _ZERO <= text[at] <= _ZERO + 9 and at - start < 2:
        value = value * 10 + (text[at] - _ZERO)
        at += 1
    return (-value if negative else value), at if at > start else _FAILED


@njit(cache=True, nogil=True)
def _decimal(text, at):  # type: ignore[no-untyped-def]
    """Read a number of at most 15 digits and the blank after it, such that the double is the nearest one."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    mantissa, start, point = np.int64(0), at, -1
    while True:
        char = text[at]
        if _ZERO <= char <= _ZERO + 9:
            mantissa = mantissa * 10 + (char - _ZERO)
        elif char == _POINT and point < 0:
            point = at
        else:
            break
        at += 1
    digits = at - start - (point >= 0)
    power = at - point - 1 if point >= 0 else 0
    if text[at] == _E:
        exponent, at = _exponent(text, at + 1)
        power -= exponent
    if digits == 0 or digits > EXACT_DIGITS or abs(power) > EXACT_POWER or at < 0 or text[at] != _SPACE:
        return 0.0, _FAILED
    value = mantissa / _POWERS[power] if power >= 0 else mantissa * _POWERS[-power]
    return (-value if negative else value), at + 1


@njit(cache=True, nogil=True)
def _skip(text, at, fields):  # type: ignore[no-untyped-def]
    """Step over fields that end in one blank each; -1 if one is empty or no number."""
    while fields > 0:
        start = at
        while _IN_NUMBER[text[at]]:
            at += 1
        if at == start or text[at] != _SPACE:
            return _FAILED
        at += 1
        fields -= 1
    return at


@njit(cache=True, nogil=True)
def _joint(text, at, point):  # type: ignore[no-untyped-def]
    """Read one joint line into (3,) `point`; returns tracking state and the start of the next line."""
    for axis in range(3):
        value, at = _decimal(text, at)
        if at < 0:
            return 0, at
        point[axis] = value
    at = _skip(text, at, 8)
    if at < 0 or not _ZERO <= text[at] <= _ZERO + 2:
        return 0, _FAILED
    return text[at] - _ZERO, _line_end(text, at + 1)


@njit(cache=True, nogil=True)
def _header(text, at):  # type: ignore[no-untyped-def]
    """Read the body line and the joint count; returns the body id and the start of the first joint line."""
    body, at = _whole(text, at)
    if at < 0 or text[at] != _SPACE:
        return body, _FAILED
    at = _skip(text, at + 1, 8)
    if at < 0:
        return body, at
    start = at
    while _IN_NUMBER[text[at]]:
        at += 1
    at = _line_end(text, at) if at > start else _FAILED
    if at < 0 or text[at] != _ZERO + 2 or text[at + 1] != _ZERO + 5:
        return body, _FAILED
    return body, _line_end(text, at + 2)


@njit(cache=True, nogil=True)
def _scan(text, frame, body, xyz, state):  # type: ignore[no-untyped-def]
    """Fill the columns; returns frames and rows, or -1 and 0 if anything is irregular."""
    total, at = _count(text, 0)
    if total >= MAX_FRAMES:
        return _FAILED, 0
    rows, number = 0, 0
    while at >= 0 and number < total and at < len(text) - 1:
        bodies, at = _count(text, at)
        while at >= 0 and bodies > 0:
            if rows == len(frame):
                return _FAILED, 0
            body[rows], at = _header(text, at)
            joint = 0
            while at >= 0 and joint < 25:
                state[rows, joint], at = _joint(text, at, xyz[rows, joint])
                joint += 1
            frame[rows] = number
            rows += 1
            bodies -= 1
        number += 1
    if at != len(text) - 1 or number != total:
        return _FAILED, 0
    return number, rows
