"""Writes the exchange formats from made-up clips, in the order and form of the code that makes the real files."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.catalog import get_card

FRAMES = 12


@dataclass
class Clip:
    name: str
    label: int
    xyz: np.ndarray
    """(2, T, 25, 3)."""


def small_ntu60() -> tuple[DatasetCard, list[Clip]]:
    """NTU RGB+D with 36 clips (3 subjects, 3 cameras, 4 actions), and those clips sorted by name."""
    rng = np.random.default_rng(0)
    clips = []
    for subject in (1, 2, 3):
        for camera in (1, 2, 3):
            for action in (1, 5, 50, 60):
                name = f"S001C{camera:03d}P{subject:03d}R001A{action:03d}"
                frames = int(rng.integers(5, FRAMES))
                xyz = rng.normal(size=(2, frames, 25, 3)).astype(np.float32)
                if action < 50:
                    xyz[1] = 0
                xyz[0, 0, 1] = 0
                clips.append(Clip(name, action - 1, xyz))
    card = get_card("ntu60")
    sizes = {"xsub": (24, 12), "xview": (24, 12)}
    splits = {name: replace(split, expected=sizes[name]) for name, split in card.splits.items()}
    return replace(card, splits=splits), sorted(clips, key=lambda clip: clip.name)


def padded(clip: Clip) -> np.ndarray:
    """(2, FRAMES, 25, 3), zeros at the end."""
    xyz = np.zeros((2, FRAMES, 25, 3), np.float32)
    xyz[:, :clip.xyz.shape[1]] = clip.xyz
    return xyz


def write_npz(path: Path, clips: list[Clip], compress: bool = False) -> Path:
    """As CTR-GCN writes cross-subject: grouped by performer, then by name; subject 3 tests."""
    arrays = {}
    for part, subjects in (("train", (1, 2)), ("test", (3,))):
        chosen = [clip for subject in subjects for clip in clips if int(clip.name[9:12]) == subject]
        arrays[f"x_{part}"] = np.stack([padded(clip).swapaxes(0, 1).reshape(FRAMES, 150) for clip in chosen])
        arrays[f"y_{part}"] = np.eye(60)[[clip.label for clip in chosen]]
    (np.savez_compressed if compress else np.savez)(path, **arrays)
    return path


def pyskl_content(clips: list[Clip]) -> dict:
    """As PYSKL pickles it; only persons that are there."""
    annotations = [{"frame_dir": clip.name, "label": clip.label, "total_frames": clip.xyz.shape[1],
                    "keypoint": clip.xyz[:1 + clip.xyz[1].any()].astype(np.float16)} for clip in clips]
    names = [clip.name for clip in clips]
    train = [name for name in names if name[9:12] != "003"]
    return {"split": {"xsub_train": train, "xsub_val": [name for name in names if name not in train]},
            "annotations": annotations}


def write_crossclr(folder: Path, clips: list[Clip], protocol: int = 4) -> list[Path]:
    """The four files of cross-view: camera 1 tests."""
    files = []
    for part in ("train", "val"):
        chosen = [clip for clip in clips if (clip.name[5:8] == "001") == (part == "val")]
        data, labels = folder / f"{part}_data.npy", folder / f"{part}_label.pkl"
        np.save(data, np.stack([padded(clip).transpose(3, 1, 2, 0) for clip in chosen]))
        content = ([f"{clip.name}.skeleton" for clip in chosen], [clip.label for clip in chosen])
        labels.write_bytes(pickle.dumps(content, protocol))
        files += [data, labels]
    return files
