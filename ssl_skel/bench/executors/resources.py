"""What units get of this machine: CPU threads and GPUs."""

from __future__ import annotations

import os
from dataclasses import replace

from ssl_skel.api import Unit
from ssl_skel.errors import UsageMistake


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_threads(unit: Unit, slots: int) -> Unit:
    """The unit with threads for each of its processes: as asked, else this machine's cores divided by all of them.

    Args:
        unit: Its option ``threads`` may be None.
        slots: Units at once.
    """
    if unit.options.get("threads"):
        return unit
    share = cores() // (slots * int(unit.options.get("processes") or 1))
    return replace(unit, options={**unit.options, "threads": max(1, share)})


def gpu_groups(device: str, processes: int) -> list[tuple[str, ...]]:
    """GPUs for units at once, one for each process of a unit, as ``CUDA_VISIBLE_DEVICES`` names them.

    Args:
        device: Of the run; one that is named (``cuda:1``) is shared by all units, and nothing is dealt.
        processes: Of a unit.

    Returns:
        As many groups as there are; none on a CPU.

    Raises:
        UsageMistake: If a unit needs more GPUs than there are.
    """
    import torch

    if device.startswith("cuda:") and processes > 1:
        raise UsageMistake(f"--device {device} is one GPU, and a cell shall have {processes}", "Give --device cuda.")
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if not count:
        return []
    if processes > count:
        raise UsageMistake(f"--gpus-per-cell {processes}: this machine shows {count} GPUs")
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in shown.split(",")][:count] if shown else [str(i) for i in range(count)]
    return [tuple(names[at:at + processes]) for at in range(0, count - processes + 1, processes)]
