"""The `.skeleton` text of NTU RGB+D and NTU RGB+D 120: bytes -> arrays.

Format (read from the Matlab reader of the dataset's authors, checked on real files): the number of frames;
per frame the number of bodies; per body a line of 10 fields that starts with the body id, a line with the
number of joints, and per joint a line of 12 fields: x y z (metres, y up), depth and colour pixel, orientation,
tracking state (0 none, 1 inferred, 2 tracked). Line ends are CRLF in one half of the files, LF in the other.

Only body id, x, y, z and tracking state become numbers. The body id is an integer beyond 2^53 (a double merges
the two persons of a clip), so it never passes through a float.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.readers.fast import compiled
from ssl_skel.data.readers.text import MAX_FRAMES, Tokens, check_alphabet, shown, to_float, to_ints, tokenize
from ssl_skel.errors import BadData

JOINTS = 25
BODY_FIELDS = 10
JOINT_FIELDS = 12
BODY_LINES = 2 + JOINTS
MAX_BODIES = 100


@dataclass(frozen=True, slots=True)
class SkeletonText:
    """What a `.skeleton` file holds, one row for each body in each frame, in file order.

    Attributes:
        frames: T, the number of frames, those without a body included.
        frame: (n,) int64 frame of each row, ascending.
        body: (n,) uint64 body ids.
        xyz: (n, 25, 3) float32 metres; NaN where the file has a number that is not finite.
        state: (n, 25) uint8 tracking states: 0 none, 1 inferred, 2 tracked.
    """

    frames: int
    frame: NDArray[np.int64]
    body: NDArray[np.uint64]
    xyz: NDArray[np.float32]
    state: NDArray[np.uint8]


def parse_skeleton(data: bytes) -> SkeletonText:
    """Parse the bytes of a `.skeleton` file.

    Uses the compiled parser where the `fast` extra is installed; whatever that one finds irregular is read
    again by the careful one, so both give the same arrays and the same errors.

    Raises:
        BadData: With the line, if the file is cut off, counts other than 25 joints or holds what is no number.
    """
    fast = compiled("ssl_skel.data.readers.ntu_numba")
    if fast is not None:
        columns = fast.parse(data)
        if columns is not None:
            return SkeletonText(*columns)
    return parse_with_numpy(data)


def parse_with_numpy(data: bytes) -> SkeletonText:
    """Parse without compiled code; see `parse_skeleton`."""
    tokens = tokenize(data)
    check_alphabet(tokens, data)
    frames, headers, frame = _find_bodies(tokens)
    body = to_ints(tokens, tokens.first[headers])
    joint_lines = headers[:, None] + 2 + np.arange(JOINTS)
    first = tokens.first[joint_lines]
    xyz = to_float(tokens, (first[..., None] + np.arange(3)).ravel())
    return SkeletonText(frames, frame, np.array(body, np.uint64), _float32(xyz).reshape(-1, JOINTS, 3),
                        _states(tokens, first + JOINT_FIELDS - 1))


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32; what overflows counts as not finite."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    narrow[~np.isfinite(narrow)] = np.nan
    return narrow


def _find_bodies(tokens: Tokens) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Find the bodies and check the form of each.

    Returns:
        Number of frames, (n,) line of each body's header, (n,) frame of each body.
    """
    found: list[tuple[int, int]] = []
    try:
        frames = _walk(tokens, found)
    except BadData:
        _check_fields(tokens, np.array(found, np.int64).reshape(-1, 2)[:, 0])
        raise
    headers, owners = np.array(found, np.int64).reshape(-1, 2).T
    _check_fields(tokens, headers)
    return frames, headers, owners


def _walk(tokens: Tokens, found: list[tuple[int, int]]) -> int:
    """Follow the counts from frame to frame; appends (line, frame) of each body and returns the frames."""
    lines, single = len(tokens.first) - 1, _single_tokens(tokens)
    frames = _count(tokens, 0, single, MAX_FRAMES)
    if frames == 0:
        raise BadData("line 1: no frames")
    line = 1
    for frame in range(frames):
        if line >= lines:
            raise BadData(f"cut off after {frame} of {frames} frames")
        bodies = _count(tokens, line, single, MAX_BODIES)
        stop = line + 1 + bodies * BODY_LINES
        if stop > lines:
            raise BadData(f"cut off in frame {frame + 1} of {frames}")
        found.extend((header, frame) for header in range(line + 1, stop, BODY_LINES))
        line = stop
    if line < lines:
        raise BadData(f"line {line + 1}: text after the last of {frames} frames")
    return frames


def _single_tokens(tokens: Tokens) -> dict[int, bytes]:
    """Line -> its token, of the lines that have one: counts of frames, bodies and joints."""
    lines = np.flatnonzero(tokens.per_line == 1)
    which = tokens.first[lines]
    spans = zip(lines.tolist(), tokens.starts[which].tolist(), tokens.ends[which].tolist())
    return {line: tokens.text[start:end] for line, start, end in spans}


def _count(tokens: Tokens, line: int, single: dict[int, bytes], limit: int) -> int:
    if line not in single:
        raise BadData(f"line {line + 1}: {tokens.per_line[line]} fields where a count should stand")
    token = single[line]
    if len(token) <= 7 and token.isdigit() and int(token) < limit:
        return int(token)
    return to_ints(tokens, tokens.first[line:line + 1], limit)[0]


def _check_fields(tokens: Tokens, headers: NDArray[np.int64]) -> None:
    """Check the joint count and the number of fields on every line of every body."""
    wanted = np.array([BODY_FIELDS, 1] + [JOINT_FIELDS] * JOINTS)
    lines = headers[:, None] + np.arange(BODY_LINES)
    wrong = tokens.per_line[lines] != wanted
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        line = int(lines[row, column])
        raise BadData(f"line {line + 1}: {tokens.per_line[line]} fields, expected {wanted[column]}")
    counts = tokens.first[lines[:, 1]]
    at = tokens.starts[counts]
    right = (tokens.ends[counts] - at == 2) & (tokens.chars[at] == 50) & (tokens.chars[at + 1] == 53)
    if not right.all():
        index = int(counts[~right][0])
        found = shown(tokens.token(index))
        raise BadData(f"line {tokens.line_of(index)}: joint count {found}, expected {JOINTS}")


def _states(tokens: Tokens, which: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read (n, 25) tracking states, each one digit from 0 to 2."""
    state = tokens.chars[tokens.starts[which]] - np.uint8(48)
    wrong = (tokens.ends[which] - tokens.starts[which] != 1) | (state > 2)
    if wrong.any():
        index = int(which[wrong][0])
        found = shown(tokens.token(index))
        raise BadData(f"line {tokens.line_of(index)}: tracking state {found} is not 0, 1 or 2")
    return state
