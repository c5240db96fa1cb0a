"""Writes small folders in the format of NW-UCLA, and finds the real one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)


def clip_name(action: int = 1, subject: int = 1, repetition: int = 0, view: int = 1) -> str:
    return f"a{action:02d}_s{subject:02d}_e{repetition:02d}_v{view:02d}"


def write_clip(folder: Path, name: str, xyz: np.ndarray) -> Path:
    """Write one clip (T, 20, 3)."""
    label = ACTIONS.index(int(name[1:3])) + 1
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"file_name": name, "skeletons": np.round(xyz, 6).tolist(), "label": label}))
    return path


def write_folder(folder: Path, clips: int = 12, seed: int = 0) -> Path:
    """Write clips of all actions, ten subjects and three views, as far as `clips` goes; return ``all_sqe``."""
    rng = np.random.default_rng(seed)
    folder = folder / "all_sqe"
    folder.mkdir(parents=True)
    for number in range(clips):
        name = clip_name(ACTIONS[number % 10], number // 30 % 10 + 1, number // 300, number // 10 % 3 + 1)
        write_clip(folder, name, rng.normal(size=(int(rng.integers(1, 12)), 20, 3)))
    return folder


def real_data(name: str) -> Path:
    """Folder of a real dataset, or skip."""
    root = os.environ.get("SSL_SKEL_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(root) / name
    if not path.is_dir():
        pytest.skip(f"no real data: {path} does not exist (set SSL_SKEL_REAL_DATA)")
    return path
