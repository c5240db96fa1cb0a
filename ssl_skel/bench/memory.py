"""How much memory a cell will take, before it starts: from earlier ones like it, else measured on a few clips."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from ssl_skel.api import PretextTask
from ssl_skel.bench.cards import PretrainingCard, read_card
from ssl_skel.bench.cells import EvalCell, PretrainCell
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.layouts import Layout
from ssl_skel.data.loader import Clips
from ssl_skel.errors import BadRecord, SkelError
from ssl_skel.runtime import peak_mb

LIMIT = "SSL_SKEL_MEMORY_GB"
"""Environment variable: gigabytes (10^9 bytes) of the machine's memory that the cells of a run may take together."""
POINT_BYTES = 200_000
"""Bytes a point (joint of a frame of a person) that no method here exceeds in training; measured on a CPU: 18,000
(SimCLR on ST-GCN, both views) to 70,000 (colorization on DGCNN, k = 20)."""
ENCODE_BYTES = 30_000
"""The same for encoding without gradients."""
PROBES = (2, 4)
"""Clips of the two steps from which the growth a clip is measured."""


@dataclass(frozen=True)
class Need:
    """Memory that a cell takes at its peak.

    Attributes:
        mb: In MB (10^6 bytes), all that the process holds on the device.
        how: ``recorded``, ``measured``, or ``bound`` (no more than this; nothing is refused for it).
    """

    mb: float
    how: str


def machine_mb(device: torch.device) -> tuple[float, float]:
    """Memory of the device that cells may take, and how much of it is free, in MB; a container's limit counts."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total / 1e6, free / 1e6
    memory = psutil.virtual_memory()
    total, free = memory.total / 1e6, memory.available / 1e6
    for limit, used in _container():
        total, free = min(total, limit), min(free, limit - used)
    allowed = os.environ.get(LIMIT, "")
    with contextlib.suppress(ValueError):
        total = min(total, float(allowed) * 1000)
        free = min(free, total)
    return total, free


def _container() -> Iterator[tuple[float, float]]:
    """Limit and use of this process's control group, in MB."""
    root = Path("/sys/fs/cgroup")
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes",
                                                           "memory/memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):
            yield int((root / limit).read_text()) / 1e6, int((root / used).read_text()) / 1e6


def held_mb(device: torch.device) -> float:
    """What this process holds on the device now, in MB."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 1e6
    return float(psutil.Process().memory_info().rss) / 1e6


def pretraining_mb(out: Path, cell: PretrainCell, task: PretextTask, clips: Clips, device: torch.device) -> Need:
    """Estimate a pretraining whose clips are loaded.

    Earlier pretrainings of the folder with the same method, keys and data say it best. Where there is none, and a
    bound from batch and points is not small beside what is free, two small steps of a copy of the task are measured.

    Args:
        out: Output folder.
        cell: The pretraining.
        task: Built; it is not changed.
        clips: Of the training part.
        device: Where it will run.
    """
    recorded = [card.cost["peak_mb"] or 0.0 for card in _like(out, cell) if card.env.get("device") == str(device)]
    if recorded:
        return Need(max(recorded), "recorded")
    share, layout = -(-cell.train.batch // cell.train.accumulate), clips.layout
    bound = held_mb(device) + share * _points(layout, cell.train.frames) * POINT_BYTES / 1e6
    if bound < machine_mb(device)[1] / 2:
        return Need(bound, "bound")
    measured = _measure(cell, task, clips, device, share)
    return Need(bound, "bound") if measured is None else Need(measured, "measured")


def evaluation_mb(out: Path, cell: EvalCell, layout: Layout, device: torch.device, batch: int = 64) -> Need:
    """Estimate an evaluation: from its plugin's earlier ones under the same protocol, else a bound for encoding."""
    store, key = RecordStore(out), cell.key()
    folder = store.record_path("0" * 16, key).parent
    peaks = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(BadRecord):
            record = store.load(path)
            same = (record.cell.evaluator, record.cell.backbone) == (key.evaluator, key.backbone)
            if same and record.env.get("device") == str(device) and record.config.get("frames") == cell.frames:
                peaks.append(record.cost.get("eval_peak_mb") or 0.0)
    if peaks:
        return Need(max(peaks), "recorded")
    return Need(held_mb(device) + batch * _points(layout, cell.frames) * ENCODE_BYTES / 1e6, "bound")


def _points(layout: Layout, frames: int) -> int:
    return layout.persons * frames * layout.num_joints


def _like(out: Path, cell: PretrainCell) -> Iterator[PretrainingCard]:
    """Cards of trained pretrainings that differ from this one in seed, split, epochs or rate at most."""
    def same(other: PretrainCell) -> bool:
        names = ("plugin", "plugin_version", "backbone", "backbone_version", "backbone_config", "config", "dataset",
                 "precision")
        sizes = ("batch", "accumulate", "frames", "optimizer", "ema")
        return (all(getattr(cell, name) == getattr(other, name) for name in names)
                and all(getattr(cell.train, name) == getattr(other.train, name) for name in sizes))

    for path in sorted((out / "pretrain").glob("*/card.json")):
        with contextlib.suppress(SkelError):
            card = read_card(path.parent)
            if card.cost["steps"] and card.world_size == 1 and same(card.cell):
                yield card


def _measure(cell: PretrainCell, task: PretextTask, clips: Clips, device: torch.device, share: int) -> float | None:
    """Peak of a step of `share` clips, from the growth between two small ones; None where nothing can be said."""
    if len(clips) < PROBES[1] or share <= PROBES[1]:
        return None
    devices = [device] if device.type == "cuda" else []
    peaks = []
    try:
        with torch.random.fork_rng(devices=devices):
            for count in PROBES:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                _step(cell, copy.deepcopy(task).to(device).train(), clips, device, count)
                peaks.append(peak_mb(device))
    except Exception:  # a method that can't take so few clips; its own step will say what is wrong, if anything is
        return None
    growth = (peaks[1] - peaks[0]) / (PROBES[1] - PROBES[0])
    weights = sum(p.numel() * p.element_size() for p in task.parameters()) / 1e6
    return peaks[1] + growth * (share - PROBES[1]) + 3 * weights if growth > 0 else None  # moments and average


def _step(cell: PretrainCell, task: PretextTask, clips: Clips, device: torch.device, count: int) -> None:
    gen = torch.Generator(device=device).manual_seed(0)
    batch = clips.sample(torch.arange(count), cell.train.frames, "centred")
    with torch.no_grad():
        views = task.views(batch, gen)
    with torch.autocast(device.type, torch.bfloat16, enabled=cell.precision == "bf16"):
        loss = task(views)["loss"]
    loss.backward()
