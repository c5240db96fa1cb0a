"""Reader of the SBU Kinect Interaction set: two persons of 15 joints, split by pairs of actors.

``<set>/<class 01..08>/<sequence>/skeleton_pos.txt``, one line a frame: frame number, then x, y, z of 15 joints of
the first and of the second person, comma separated. The numbers are image coordinates: x and y as fractions of
the image with y DOWN, z a scaled depth. They are turned into metres, x and y around the optical axis and y up:
X = 1280 - 2560 x, Y = 960 - 1920 y, Z = 10000 z / 7.8125 millimetres (the set's documentation; code that takes Z
from the y column is wrong). In metres a bone's length varies by 2.3 % in a clip, in the raw numbers by 5.2 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.clip import RawClip
from ssl_skel.data.readers.base import Dropped, Reader, nothing_found, raw_folder
from ssl_skel.data.readers.files import find, read_file
from ssl_skel.data.readers.text import check_alphabet, to_float, tokenize
from ssl_skel.errors import BadData

SETS = ("s01s02", "s01s03", "s01s07", "s02s01", "s02s03", "s02s06", "s02s07", "s03s02", "s03s04", "s03s05", "s03s06",
        "s04s02", "s04s03", "s04s06", "s05s02", "s05s03", "s06s02", "s06s03", "s06s04", "s07s01", "s07s03")
"""Pairs of actors; the subject id of a clip is the position of its pair, from 1."""

ACTIONS = 8
NUMBERS = 91
JOINTS = 15
_FACTOR = np.array([-2.560, -1.920, 1.280])
_OFFSET = np.array([1.280, 0.960, 0.0])


class SbuReader(Reader):
    """Reads the folder that holds ``s01s02`` and its like."""

    version = 1

    def discover(self, raw: Path) -> list[Path]:
        """List the skeleton files by pair, class and sequence."""
        found = [path for path in find(raw_folder(raw), re.compile("skeleton_pos.txt")) if clip_name(path)]
        if not found:
            raise nothing_found("SBU files (s01s02/01/001/skeleton_pos.txt ...)", raw)
        by_name: dict[str, Path] = {}
        for path in found:
            other = by_name.setdefault(clip_name(path), path)
            if other is not path:
                raise BadData(f"two files of one name: {other} and {path}", "Remove one of them.")
        return [by_name[name] for name in sorted(by_name)]

    def read(self, path: Path) -> Iterator[RawClip | Dropped]:
        """Read one sequence."""
        name = clip_name(path)
        pair, action, sequence = path.parts[-4:-1]
        if not name or pair not in SETS:
            raise BadData(f"{path}: not one of the {len(SETS)} pairs of actors")
        if not 1 <= int(action) <= ACTIONS:
            raise BadData(f"{name}: class {action} is not one of 1 to {ACTIONS}")
        try:
            xyz, valid = parse_sequence(read_file(path))
        except BadData as error:
            raise BadData(f"{name}: {error.what}") from None
        yield RawClip(name, xyz, valid, int(action) - 1, SETS.index(pair) + 1, repetition=int(sequence))


def clip_name(path: Path) -> str:
    """Name a clip by its folders, ``s01s02_01_001``; "" if they are not those of this set."""
    name = "_".join(path.parts[-4:-1])
    return name if re.fullmatch(r"s\d\ds\d\d_\d\d_\d\d\d", name) else ""


def parse_sequence(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read a skeleton file.

    Returns:
        (2, T, 15, 3) float32 metres, y up, and (2, T, 15) bool: finite and not (0, 0, 0) in the file.

    Raises:
        BadData: With the line, if one has not 91 numbers.
    """
    tokens = tokenize(data, b",")
    wrong = np.flatnonzero(tokens.per_line != NUMBERS)
    if len(wrong):
        raise BadData(f"line {wrong[0] + 1}: {tokens.per_line[wrong[0]]} numbers, expected {NUMBERS}")
    check_alphabet(tokens, data, b",")
    values = to_float(tokens, np.arange(len(tokens.starts))).reshape(-1, NUMBERS)
    raw = values[:, 1:].reshape(-1, 2, JOINTS, 3).swapaxes(0, 1)
    valid = np.isfinite(raw).all(axis=3) & (raw != 0).any(axis=3)
    with np.errstate(over="ignore"):
        xyz = (raw * _FACTOR + _OFFSET).astype(np.float32)
    return np.ascontiguousarray(xyz), valid
