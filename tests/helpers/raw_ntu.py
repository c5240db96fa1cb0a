"""Writes `.skeleton` text token for token as the NTU archives have it, from known numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_skel.data.layouts import KINECT_V2_25

JOINTS = 25
ID = 72057594037944734
"""A real body id; its neighbours within 4 are the same double."""


def standing(frames: int, seed: int = 0, wide: bool = False, amount: float = 0.05) -> np.ndarray:
    """(T, 25, 3) float32 metres: a person 1.7 m tall and 0.6 m wide (or wide and flat) that moves a little."""
    rng = np.random.default_rng(seed)
    pose = rng.uniform(-0.3, 0.3, (JOINTS, 3))
    pose[:, 1] = np.linspace(-0.85, 0.85, JOINTS)
    if wide:
        pose[:, :2] = pose[:, 1::-1]
    walk = np.cumsum(rng.normal(0, amount, (frames, 1, 3)), axis=0)
    return (pose + walk + [0, 0, 3]).astype(np.float32)


def number(value: float) -> str:
    """As the archives print it: seven significant digits, shortest form."""
    return f"{value:.7g}"


def body_lines(body: int, xyz: np.ndarray, states: Sequence[int], rng: np.random.Generator) -> list[str]:
    """The 27 lines of one body in one frame; what no reader uses is random."""
    lines = [f"{body} 0 1 1 1 0 0 {number(rng.normal())} {number(rng.normal())} 2", str(len(xyz))]
    for (x, y, z), state in zip(xyz.tolist(), states):
        other = " ".join(number(value) for value in (*rng.uniform(0, 1920, 4), *rng.uniform(-1, 1, 4)))
        lines.append(f"{number(x)} {number(y)} {number(z)} {other} {state}")
    return lines


def skeleton_lines(frames: Sequence[dict[int, np.ndarray]], states: dict[tuple[int, int, int], int] | None = None,
                   seed: int = 0) -> list[str]:
    """Lines of a recording.

    Args:
        frames: Per frame: body id -> (25, 3) positions, in file order.
        states: (frame, body id, joint) -> tracking state; 2 where absent.
        seed: For the fields that no reader uses.
    """
    rng, states = np.random.default_rng(seed), states or {}
    lines = [str(len(frames))]
    for at, bodies in enumerate(frames):
        lines.append(str(len(bodies)))
        for body, xyz in bodies.items():
            row = [states.get((at, body, joint), 2) for joint in range(len(xyz))]
            lines += body_lines(body, xyz, row, rng)
    return lines


def recording(tracks: dict[int, tuple[int, np.ndarray]], frames: int) -> list[dict[int, np.ndarray]]:
    """Frames of a recording from body id -> (first frame, (n, 25, 3))."""
    return [{body: xyz[at - start] for body, (start, xyz) in tracks.items() if start <= at < start + len(xyz)}
            for at in range(frames)]


def to_bytes(lines: Sequence[str], end: str = "\r\n") -> bytes:
    """Text of lines, the last one ended too."""
    return (end.join(lines) + end).encode()


def write_clip(folder: Path, name: str, xyz: np.ndarray, end: str = "\r\n", body: int = ID) -> Path:
    """Write a one-person clip (T, 25, 3)."""
    path = folder / f"{name}.skeleton"
    path.write_bytes(to_bytes(skeleton_lines([{body: frame} for frame in xyz]), end))
    return path


assert KINECT_V2_25.num_joints == JOINTS
