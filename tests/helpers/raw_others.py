"""Writes PKU-MMD, UWA3D and SBU files in the form of their archives, from known numbers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from ssl_skel.data.layouts import NITE_15


def pku_text(first: np.ndarray, second: np.ndarray | None = None, end: str = "\n") -> bytes:
    """150 numbers a line from (T, 25, 3); zeros where there is no second body."""
    second = np.zeros_like(first) if second is None else second
    rows = np.concatenate([first.reshape(len(first), -1), second.reshape(len(first), -1)], axis=1)
    return (end.join(" ".join(f"{value:.6f}" for value in row) for row in rows.tolist()) + end).encode()


def write_pku(raw: Path, video: str, skeleton: bytes | None, rows: Iterable[tuple[int, ...]] | None) -> Path:
    """Write skeleton and label file of a video where the official archives put them; returns the former."""
    skeletons, labels = raw / "Skeleton" / "PKU_Skeleton_Renew", raw / "Label" / "Train_Label_PKU_final"
    for folder in (skeletons, labels):
        folder.mkdir(parents=True, exist_ok=True)
    if skeleton is not None:
        (skeletons / f"{video}.txt").write_bytes(skeleton)
    if rows is not None:
        (labels / f"{video}.txt").write_text("".join(",".join(map(str, row)) + "\r\n" for row in rows))
    return skeletons / f"{video}.txt"


def stick_figure(frames: int, seed: int = 0, unit: float = 1.0) -> np.ndarray:
    """(T, 15, 3) float64: rigid bones of 0.1 to 0.4 m that turn as the person walks; y up."""
    rng = np.random.default_rng(seed)
    length = {child: rng.uniform(0.1, 0.4) for child, _ in NITE_15.bones}
    angle = {child: rng.uniform(0, np.pi, 2) for child, _ in NITE_15.bones}
    pace = {child: rng.uniform(-0.1, 0.1, 2) for child, _ in NITE_15.bones}
    xyz = np.zeros((frames, 15, 3))
    time = np.arange(frames)
    xyz[:, NITE_15.root] = np.stack([0.03 * time, np.full(frames, 0.2), 3 - 0.02 * time], axis=1)
    left = list(NITE_15.bones)
    done = {NITE_15.root}
    while left:
        for child, parent in list(left):
            if parent in done:
                polar, azimuth = (angle[child][:, None] + pace[child][:, None] * time)
                step = [np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)]
                xyz[:, child] = xyz[:, parent] + length[child] * np.stack(step, axis=1)
                done.add(child)
                left.remove((child, parent))
    return xyz * unit


def write_uwa3d(path: Path, values: np.ndarray, dataset: str = "A") -> Path:
    """Write an array as MATLAB v7.3 stores it: HDF5 behind a 512-byte text header."""
    with h5py.File(path, "w", userblock_size=512) as file:
        made = file.create_dataset(dataset, data=values)
        made.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def sbu_text(raw: np.ndarray, first_frame: int = 180) -> bytes:
    """91 numbers a line from (T, 2, 15, 3) image coordinates."""
    lines = [",".join([str(first_frame + at), *(f"{value:.5g}" for value in frame.ravel().tolist())])
             for at, frame in enumerate(raw)]
    return ("\r\n".join(lines) + "\r\n").encode()


def write_sbu(raw: Path, name: str, text: bytes) -> Path:
    """Write a sequence named ``s01s02_03_001``."""
    path = raw.joinpath(*name.split("_"), "skeleton_pos.txt")
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    return path
