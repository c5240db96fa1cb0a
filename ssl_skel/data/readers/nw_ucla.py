"""Reader of Northwestern-UCLA Multiview Action3D in the JSON form that the papers use (``all_sqe``).

One file a clip, ``aAA_sSS_eEE_vVV.json``: ``{"file_name", "skeletons": frames x 20 x 3 in metres, "label"}``.
The label runs from 1 to 10 over the actions 1-6, 8, 9, 11, 12, re-numbered; it is checked against the name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ssl_skel.data.clip import RawClip
from ssl_skel.data.readers.base import Dropped, Reader, raw_folder, unique_stems
from ssl_skel.data.readers.files import find, read_file
from ssl_skel.errors import BadData

ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
JOINTS = 20
MAX_BYTES = 8 << 20
"""JSON takes thirty times its size as Python objects; the largest real file has 0.3 MB."""

_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")
_FILE = re.compile(_NAME.pattern + r"\.json")


class NwUclaReader(Reader):
    """Reads ``all_sqe`` (or the folder that holds it)."""

    version = 1

    def discover(self, raw: Path) -> list[Path]:
        """List the JSON files whose names are those of this dataset."""
        raw = raw_folder(raw)
        if (raw / "all_sqe").is_dir():
            raw = raw_folder(raw / "all_sqe")
        return unique_stems(list(find(raw, _FILE)), "NW-UCLA files (a01_s01_e00_v01.json ...)", raw)

    def read(self, path: Path) -> Iterator[RawClip | Dropped]:
        """Read one clip; joints at exactly (0, 0, 0) were not tracked and become invalid."""
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise BadData(f"{path.name} is not named aAA_sSS_eEE_vVV.json")
        action, subject, repetition, view = map(int, match.groups())
        if action not in ACTIONS:
            raise BadData(f"{path.name}: action {action} is not among {ACTIONS}")
        label = ACTIONS.index(action)
        data = _load(path)
        if data["file_name"] != path.stem:
            raise BadData(f"{path.name}: holds the clip {data['file_name'][:40]!r}")
        if data["label"] != label + 1:
            raise BadData(f"{path.name}: label {data['label']!r} in the file, {label + 1} by its name")
        xyz = _skeletons(path, data["skeletons"])
        yield RawClip(path.stem, xyz[None], (xyz != 0).any(axis=2)[None], label, subject, view,
                      repetition=repetition)


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_file(path, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path.name}: not a whole JSON file ({error})") from None
    if not isinstance(data, dict) or set(data) != {"file_name", "skeletons", "label"}:
        raise BadData(f"{path.name}: the keys are not file_name, skeletons, label")
    if not isinstance(data["file_name"], str) or type(data["label"]) is not int:
        raise BadData(f"{path.name}: file_name is no text, or label no whole number")
    return data


def _skeletons(path: Path, skeletons: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Turn the nested list into (T, 20, 3) float32."""
    try:
        xyz = np.asarray(skeletons)
    except (ValueError, OverflowError):
        raise BadData(f"{path.name}: frames of unequal joint counts") from None
    if xyz.size == 0:
        raise BadData(f"{path.name}: empty clip")
    if xyz.dtype.kind not in "fi":
        raise BadData(f"{path.name}: something in skeletons is not a number")
    if xyz.ndim != 3 or xyz.shape[1:] != (JOINTS, 3):
        raise BadData(f"{path.name}: frames of shape {xyz.shape[1:]}, expected {(JOINTS, 3)}")
    return xyz.astype(np.float32)
