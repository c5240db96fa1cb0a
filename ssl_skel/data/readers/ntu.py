"""Readers of NTU RGB+D and NTU RGB+D 120: one `.skeleton` file a clip, ``SsssCcccPpppRrrrAaaa``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssl_skel.data.bodies import POLICY, Body, select_persons
from ssl_skel.data.clip import RawClip
from ssl_skel.data.ntu_names import MISSING, NAME, SETUPS_60, clip_fields, read_names
from ssl_skel.data.readers.base import Dropped, Reader, raw_folder, unique_stems
from ssl_skel.data.readers.files import find, read_file
from ssl_skel.data.readers.ntu_text import SkeletonText, parse_skeleton
from ssl_skel.errors import BadData

_FILE = re.compile(r".+\.skeleton")


class NtuReader(Reader):
    """Reads NTU RGB+D 120; its clips with setups 1 to 17 are NTU RGB+D.

    A joint is valid if its tracking state is 1 (inferred) or 2 (tracked) and its position is finite. What the
    body policy leaves out is reported body by body, under rules that start with ``body-``; frames without a person
    are reported once a clip, under ``frame-empty``.

    Attributes:
        missing: Name list of clips whose skeletons the authors call missing or incomplete; dropped.
        last_setup: Later setups belong to another dataset and are passed over.
        actions: A, the number of classes.
    """

    version = 1
    policy = POLICY
    missing: ClassVar[str] = MISSING["ntu120"]
    last_setup: ClassVar[int] = 32
    actions: ClassVar[int] = 120

    def discover(self, raw: Path) -> list[Path]:
        """List the `.skeleton` files below a folder, however deep (the two official archives side by side)."""
        found = [path for path in find(raw_folder(raw), _FILE) if self._is_mine(path)]
        return unique_stems(found, "NTU files (S001C001P001R001A001.skeleton ...)", raw)

    def _is_mine(self, path: Path) -> bool:
        match = NAME.fullmatch(path.stem)
        return match is None or int(match["setup"]) <= self.last_setup

    def read(self, path: Path) -> Iterator[RawClip | Dropped]:
        """Read one recording."""
        fields = clip_fields(path.stem, self.actions)
        if path.stem in _listed(self.missing):
            yield Dropped(path.stem, "missing-skeletons-list", f"named in {self.missing}")
            return
        data = read_file(path)
        try:
            text = parse_skeleton(data)
            bodies = split_bodies(text)
        except BadData as error:
            raise BadData(f"{path.name}: {error.what}") from None
        if not bodies:
            yield Dropped(path.stem, "no-body", f"no body in any of {text.frames} frames")
            return
        chosen = select_persons(bodies, text.frames)
        for rule, body, why in chosen.dropped:
            yield Dropped(f"{path.stem}:{body}", rule, why)
        if chosen.empty_frames:
            yield Dropped(path.stem, "frame-empty", f"nobody in {chosen.empty_frames} of {text.frames} frames")
        yield RawClip(path.stem, chosen.xyz, chosen.valid, **fields)


class Ntu60Reader(NtuReader):
    """Reads NTU RGB+D; passes over the setups that only NTU RGB+D 120 has."""

    missing = MISSING["ntu60"]
    last_setup = max(SETUPS_60)
    actions = 60


@cache
def _listed(name: str) -> frozenset[str]:
    return frozenset(read_names(name))


def split_bodies(text: SkeletonText) -> list[Body]:
    """Gather the rows of each body id, in order of appearance.

    Args:
        text: Of one recording.

    Raises:
        BadData: If one frame holds a body id twice.
    """
    ids, first, owner = np.unique(text.body, return_index=True, return_inverse=True)
    finite = np.all(np.isfinite(text.xyz), axis=2)
    xyz = np.where(finite[..., None], text.xyz, np.float32(0))
    valid = np.logical_and(finite, text.state > 0)
    bodies = []
    for position in np.argsort(first, kind="stable").tolist():
        rows = np.flatnonzero(owner == position)
        frames = text.frame[rows]
        if (np.diff(frames) == 0).any():
            raise BadData(f"body {ids[position]} stands twice in one frame")
        if valid[rows].any():
            bodies.append(Body(str(ids[position]), frames, xyz[rows], valid[rows]))
    return bodies
