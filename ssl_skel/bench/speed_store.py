"""The store at the size of NTU RGB+D 120: opening, memory, space, random batches; beside a padded array."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_skel.bench.timing import compare
from ssl_skel.data.card import DatasetCard
from ssl_skel.data.loader import Clips, load_clips
from ssl_skel.data.preprocess import get_family
from ssl_skel.data.store import INDEX_DTYPE, TRACK_DTYPE, Store
from ssl_skel.data.store_write import Report, RowFile, finish_store
from ssl_skel.errors import ContractFailed
from ssl_skel.nn.one_thread import one_thread

CLIPS, JOINTS, LONGEST = 114_480, 25, 300
MEDIAN_FRAMES, SPREAD_FRAMES, TWO_PERSONS = 65, 0.45, 0.2
"""NTU-like: about 8 million frames in 114,480 clips; mutual actions are 26 of 120 classes."""

CARD = DatasetCard("ntu-like", "Lengths like NTU RGB+D 120", "kinect_v2_25", 2, ("none",), {})
_OPEN = """
import json, sys, time
import numpy, psutil
from ssl_skel.data.store import Store
before = psutil.Process().memory_info().rss
began = time.perf_counter()
store = Store.open(sys.argv[1])
seconds = time.perf_counter() - began
print(json.dumps({"open_ms": 1e3 * seconds, "open_mb": (psutil.Process().memory_info().rss - before) / 1e6}))
"""


def store(clips: int = CLIPS, batch: int = 128, frames: int = 64, batches: int = 40,
          repeats: int = 3) -> dict[str, Any]:
    """Generate a store in a temporary folder and time random batches, preprocessed and resampled.

    The peer reads the same batches from a memory-mapped padded (N, 300, 150) float32 array, clip by clip in
    numpy, as the field's loaders do; it gets 2,000 clips, so that the array fits.

    Args:
        clips: In the store.
        batch: Clips a batch.
        frames: T.
        batches: In one run.
        repeats: Alternating runs of each.

    Raises:
        ContractFailed: If the two give different clips.
    """
    with tempfile.TemporaryDirectory(prefix="ssl-skel-store-") as folder:
        made = make_store(Path(folder), clips)
        opened = subprocess.run([sys.executable, "-c", _OPEN, str(made.path)], capture_output=True, text=True,
                                check=True)
        size = sum(entry["bytes"] for entry in made.meta["files"].values())
        facts = json.loads(opened.stdout) | {
            "store_gb": size / 1e9, "share_of_padded": size / (clips * LONGEST * 2 * JOINTS * 3 * 4)}
        with one_thread():
            return _batches(made, facts, Path(folder), batch, frames, batches, repeats)


def _batches(made: Store, facts: dict[str, Any], folder: Path, batch: int, frames: int, batches: int,
             repeats: int) -> dict[str, Any]:
    family, everything = get_family("first-frame"), np.arange(len(made))
    mapped = load_clips(made, everything, family, frames=frames, budget=0)
    few = min(2000, len(made))
    padded = _pad(made, folder / "padded.npy", few)
    rng = np.random.default_rng(0)
    anywhere = [torch.from_numpy(rng.integers(0, len(made), batch)) for _ in range(batches)]
    within = [torch.from_numpy(rng.integers(0, few, batch)) for _ in range(batches)]

    def peer() -> int:
        return sum(len(_peer_batch(padded, index, frames)) for index in within)

    def agree(one: int, other: int) -> dict[str, Any]:
        difference = float((mapped.batch(within[0]).xyz - _peer_batch(padded, within[0], frames)).abs().max())
        if one != other or difference > 1e-4:
            raise ContractFailed(f"store: {one} clips against {other}, differing by {difference}")
        return facts | {"clips": one, "largest_difference": difference}

    _run(mapped, anywhere), peer()
    result = compare("store", lambda: _run(mapped, anywhere), peer, agree, repeats)
    result["parts"] |= {"mapped_clips_per_s": batch * batches / result["ours_s"],
                        "mapped_clips_per_cpu_s": batch * batches / _cpu_seconds(mapped, anywhere),
                        "peer_clips_per_s": batch * batches / result["peer_s"]}
    resident = load_clips(made, everything, family, frames=frames, budget=1 << 40)
    _run(resident, anywhere)
    in_memory = compare("store", lambda: _run(resident, anywhere), peer, lambda one, other: {}, repeats)
    result["parts"]["resident_clips_per_s"] = batch * batches / in_memory["ours_s"]
    return result | {"size": [len(made), batch, frames, batches]}


def _cpu_seconds(clips: Clips, indexes: list[Tensor]) -> float:
    """Processor time of one run, over all threads; other processes do not lengthen it."""
    began = time.process_time()
    _run(clips, indexes)
    return time.process_time() - began


def _run(clips: Clips, indexes: list[Tensor]) -> int:
    count = 0
    for index, following in zip(indexes, [*indexes[1:], indexes[0]]):
        clips.prefetch(following)
        count += len(clips.batch(index))
    return count


def make_store(folder: Path, clips: int, seed: int = 0) -> Store:
    """Write a store of random walks with NTU-like lengths.

    Args:
        folder: Where to.
        clips: How many.
        seed: Of lengths and walks.
    """
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.exp(rng.normal(np.log(MEDIAN_FRAMES), SPREAD_FRAMES, clips)), 20, LONGEST).astype(np.int64)
    persons = 1 + (rng.random(clips) < TWO_PERSONS)
    index, tracks = np.zeros(clips, INDEX_DTYPE), np.zeros(int(persons.sum()), TRACK_DTYPE)
    index["name"] = [f"S{number:09d}".encode() for number in range(clips)]
    index["frames"], index["num_tracks"], index["subject"] = lengths, persons, 1 + np.arange(clips) % 106
    index["first_track"] = np.cumsum(persons) - persons
    tracks["clip"] = np.repeat(np.arange(clips), persons)
    tracks["person"] = np.arange(len(tracks)) - index["first_track"][tracks["clip"]]
    tracks["length"] = lengths[tracks["clip"]]
    tracks["offset"] = np.cumsum(tracks["length"], dtype=np.int64) - tracks["length"]
    work = folder / "work"
    work.mkdir()
    np.save(work / "index.npy", index)
    np.save(work / "tracks.npy", tracks)
    _write_rows(work, rng, int(tracks["length"].sum()))
    return finish_store(work, folder / CARD.name, CARD, Report(0, clips), "generated", {"path": "speed store"})


def _write_rows(folder: Path, rng: np.random.Generator, total: int) -> None:
    """Write a random walk again and again: the content changes neither size nor speed."""
    walk = rng.normal(size=(20_000, JOINTS, 3)).cumsum(0).astype(np.float32) * np.float32(0.01)
    bits = np.full(len(walk), (1 << JOINTS) - 1, np.uint32)
    with RowFile(folder / "rows.npy", (JOINTS, 3), "<f4") as rows, RowFile(folder / "valid.npy", (), "<u4") as valid:
        for start in range(0, total, len(walk)):
            count = min(len(walk), total - start)
            rows.put(start, walk[:count])
            valid.put(start, bits[:count])
        rows.finish(total)
        valid.finish(total)


def _pad(made: Store, path: Path, clips: int) -> NDArray[np.float32]:
    """The (N, 300, 150) float32 array of the first clips, memory-mapped."""
    padded = np.lib.format.open_memmap(path, "w+", np.float32, (clips, LONGEST, 2 * JOINTS * 3))
    for position in range(clips):
        clip = made.clip(position)
        for person, xyz in enumerate(clip.xyz):
            padded[position, :len(xyz), person * 75:person * 75 + 75] = xyz.reshape(len(xyz), 75)
    padded.flush()
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _peer_batch(padded: NDArray[np.float32], index: Tensor, frames: int) -> Tensor:
    """(B, 2, T, 25, 3): valid length by the last non-zero frame, centred on the first frame, interpolated."""
    made = []
    for position in index.tolist():
        clip = padded[position]
        clip = clip[: int(np.flatnonzero(clip.any(axis=1))[-1]) + 1].reshape(-1, 2, JOINTS, 3)
        present = clip.any(axis=(0, 2, 3))
        clip = (clip - clip[0, 0, 1]) * present[:, None, None]
        where = np.clip((np.arange(frames) + 0.5) * len(clip) / frames - 0.5, 0, len(clip) - 1)
        before = np.floor(where).astype(int)
        share = (where - before)[:, None, None, None].astype(np.float32)
        after = np.minimum(before + 1, len(clip) - 1)
        made.append((clip[before] * (1 - share) + clip[after] * share).transpose(1, 0, 2, 3))
    return torch.from_numpy(np.stack(made).astype(np.float32))
