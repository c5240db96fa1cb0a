"""Readers of PKU-MMD part I and part II: untrimmed videos and label files, cut into clips.

A skeleton file has one line a frame: 150 numbers, x y z of 25 joints of the first body and then of the second,
zeros where nobody stands. A label file has one line an action: ``action,start,end,confidence``, action from 1.

THE INDEX RULE. Frames are counted from 0 and the end is not part of the clip: rows ``[start:end]``, as in the
code of CMD, MAMP and PCM3. (AimCLR counts from 1 and includes the end; the three rows of part I that start at 0
come out empty then.) A clip is one row of a label file, named by its video and the row's number from 1 in file
order, whatever the order in time; rows that overlap stay as they are, and confidence 0, 1 and 2 are all kept.
A row whose start is not before its end, or whose end lies beyond the video, is dropped by rule and counted.
One row is mended: see `ERRATA`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.clip import RawClip
from ssl_skel.data.readers.base import Dropped, Reader, raw_folder, unique_stems
from ssl_skel.data.readers.files import MAX_BYTES, find, read_file
from ssl_skel.data.readers.text import check_alphabet, to_float, to_ints, tokenize
from ssl_skel.errors import BadData

NUMBERS = 150
ACTIONS = 51
VIEWS = ("L", "M", "R")
"""View ids are positions in this list, from 1."""

ERRATA = {("0043-L", 1, 4925, 4036): 5036}
"""(video, action, start, end) -> end. The next action of 0043-L starts at 5050, so 4036 is 5036 mistyped."""

MAX_LABEL_BYTES = 1 << 20
MAX_COVER = 20
"""Rows may overlap, but a label file that repeats itself without end must not fill the memory."""

Row = tuple[int, int, int]
"""Action from 1, start, end."""

T = TypeVar("T")
_FILE = re.compile(r"(\d{4}|A\d\dN\d\d)-[LMR]\.(txt|skeleton|label)")


class PkuReader(Reader):
    """Reads one part: the files named like its videos, wherever they lie below the folder. Skeleton and label
    files may have one name (as in the official archives); a label file is the one with commas in it.
    """

    version = 1
    video: ClassVar[re.Pattern[str]]

    def discover(self, raw: Path) -> list[Path]:
        """List skeleton and label files, each skeleton file before its label file."""
        raw = raw_folder(raw)
        found = [path for path in find(raw, _FILE) if self.video.fullmatch(path.stem)]
        labels = {path for path in found if _is_label(path)}
        skeletons = unique_stems([path for path in found if path not in labels], "PKU-MMD skeleton files", raw)
        pairs = skeletons + unique_stems(list(labels), "PKU-MMD label files", raw)
        return sorted(pairs, key=lambda path: (path.stem, path in labels))

    def read(self, path: Path) -> Iterator[RawClip | Dropped]:
        """Cut one video into clips; a label file gives none of its own."""
        match = self.video.fullmatch(path.stem)
        if match is None:
            raise BadData(f"{path.name} is not named like a video of this part")
        nearby, is_label = _nearby(path.parent), _is_label(path)
        if (path.stem, not is_label) not in nearby:
            have, lack = ("label", "skeleton") if is_label else ("skeleton", "label")
            raise BadData(f"{path.name}: a {have} file without its {lack} file")
        if not is_label:
            rows = _parse(parse_labels, nearby[path.stem, True], MAX_LABEL_BYTES)
            xyz, valid = _parse(parse_video, path, MAX_BYTES)
            if sum(max(0, end - start) for _, start, end in rows) > MAX_COVER * xyz.shape[1]:
                raise BadData(f"{path.name}: its label rows cover its {xyz.shape[1]} frames over {MAX_COVER} times")
            fields = {key: int(value) for key, value in match.groupdict().items() if key != "side"}
            fields["view"] = VIEWS.index(match["side"]) + 1
            for number, row in enumerate(rows, 1):
                yield cut(path.stem, number, row, xyz, valid, fields)


class Pku1Reader(PkuReader):
    """Part I: ``NNNN-V``. No list of its performers is public, so the video number stands for the subject."""

    video = re.compile(r"(?P<subject>\d{4})-(?P<side>[LMR])")


class Pku2Reader(PkuReader):
    """Part II: ``AaaNnn-V``; N is the performer, A the script, kept as the setup."""

    video = re.compile(r"A(?P<setup>\d\d)N(?P<subject>\d\d)-(?P<side>[LMR])")


def parse_video(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read a skeleton file.

    Returns:
        (2, T, 25, 3) float32 metres and (2, T, 25) bool: finite and not at exactly (0, 0, 0), which is the
        camera and means "nobody".

    Raises:
        BadData: With the line, if one has not 150 numbers.
    """
    tokens = tokenize(data)
    wrong = np.flatnonzero(tokens.per_line != NUMBERS)
    if len(wrong):
        raise BadData(f"line {wrong[0] + 1}: {tokens.per_line[wrong[0]]} numbers, expected {NUMBERS}")
    check_alphabet(tokens, data)
    with np.errstate(over="ignore"):
        values = to_float(tokens, np.arange(len(tokens.starts))).astype(np.float32)
    xyz = values.reshape(-1, 2, NUMBERS // 6, 3).swapaxes(0, 1)
    valid = np.isfinite(xyz).all(axis=3) & (xyz != 0).any(axis=3)
    return np.ascontiguousarray(xyz), valid


def parse_labels(data: bytes) -> list[Row]:
    """Read a label file; blank lines are passed over.

    Raises:
        BadData: With the line, if one is not four whole numbers or the action is not one of 1 to 51; if there is none.
    """
    tokens = tokenize(data, b",")
    wrong = np.flatnonzero((tokens.per_line != 4) & ((tokens.per_line != 0) | (len(tokens.starts) == 0)))
    if len(wrong):
        raise BadData(f"line {wrong[0] + 1}: {tokens.per_line[wrong[0]]} fields, expected action,start,end,confidence")
    values = np.array(to_ints(tokens, np.arange(len(tokens.starts)), 10**9), np.int64).reshape(-1, 4)
    unknown = np.flatnonzero((values[:, 0] < 1) | (values[:, 0] > ACTIONS))
    if len(unknown):
        row = int(unknown[0])
        raise BadData(f"line {tokens.line_of(4 * row)}: action {values[row, 0]} is not one of 1 to {ACTIONS}")
    return [(action, start, end) for action, start, end, _ in values.tolist()]


def cut(video: str, number: int, row: Row, xyz: NDArray[np.float32], valid: NDArray[np.bool_],
        fields: dict[str, int]) -> RawClip | Dropped:
    """Cut one clip by the index rule of this module.

    Args:
        video: Name of the video.
        number: Of the row in the label file, from 1.
        row: The row.
        xyz: (2, T, 25, 3) of the whole video.
        valid: (2, T, 25).
        fields: subject, view and setup of the clip.
    """
    action, start, end = row
    end = ERRATA.get((video, action, start, end), end)
    name, frames = f"{video}-{number:03d}", xyz.shape[1]
    if start >= end:
        return Dropped(name, "start-not-before-end", f"frames {start} to {end}")
    if end > frames:
        return Dropped(name, "beyond-video", f"frames {start} to {end} of {frames}")
    if not valid[:, start:end].any():
        return Dropped(name, "no-body", f"nobody in frames {start} to {end}")
    return RawClip(name, xyz[:, start:end], valid[:, start:end], action - 1, repetition=number, **fields)


def _parse(parser: Callable[[bytes], T], path: Path, limit: int) -> T:
    data = read_file(path, limit)
    try:
        return parser(data)
    except BadData as error:
        raise BadData(f"{path.parent.name}/{path.name}: {error.what}") from None


def _is_label(path: Path) -> bool:
    """By content; an empty file by what its name or folder says."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise BadData(f"can't read {path}: {error.strerror or error}") from None
    return b"," in head if head.strip() else "label" in f"{path.parent.name}{path.suffix}".lower()


@cache
def _nearby(folder: Path) -> dict[tuple[str, bool], Path]:
    """Video files by (stem, is a label file): all below the nearest place that holds both kinds."""
    for place in (folder, *folder.parents[:3]):
        found = {(path.stem, _is_label(path)): path for path in find(place, _FILE)}
        if len({is_label for _, is_label in found}) == 2:
            return found
    return {}
