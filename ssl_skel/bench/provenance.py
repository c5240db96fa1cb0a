"""Where a number was made: machine, versions, git state; and the commands that make it again."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import ssl_skel
from ssl_skel.bench.record import CellKey, Record
from ssl_skel.registry import Catalogue

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "timm", "accelerate", "safetensors", "pydantic",
            "numba")
"""Distributions whose version can change a number or a file."""

_BROUGHT = "_distribution"


def environment(device: object = "cpu") -> dict[str, Any]:
    """Describe this machine and what is installed, without importing anything heavy.

    Args:
        device: What the numbers are computed on: ``cpu``, ``cuda``, or a torch device.

    Returns:
        Plain data for a record: ``platform``, ``python``, ``cpu``, ``cores``, ``memory_mb``, ``device``,
        ``device_name``, ``threads``, ``packages``, ``ssl_skel``, ``git`` (None outside a repository).
    """
    return {
        "platform": platform.platform(), "python": platform.python_version(), "machine": platform.machine(),
        "cpu": _cpu_name(), "cores": _cores(), "memory_mb": _memory_mb(),
        "device": str(device), "device_name": _device_name(str(device)), "threads": _threads(),
        "packages": package_versions(), "ssl_skel": ssl_skel.__version__, "git": git_state(),
    }


def versions() -> dict[str, str | int]:
    """Versions of what every record names: the suite, Python, torch, numpy."""
    found = package_versions()
    return {"suite": ssl_skel.__version__, "python": platform.python_version(),
            **{name: found[name] for name in ("torch", "numpy") if name in found}}


def distributions(catalogue: Catalogue, cell: CellKey) -> dict[str, str]:
    """Which installed distributions a cell's parts come from, where the suite does not ship them.

    Args:
        catalogue: Where names are looked up.
        cell: The cell.

    Returns:
        E.g. ``{"plugin_distribution": "ssl-skel-shake 0.1.0"}``.
    """
    parts = {"plugin": cell.plugin, "backbone": cell.backbone, "evaluator": cell.evaluator,
             "dataset": cell.dataset.partition("+")[0]}
    found = {part: catalogue.get(f"{part}s", name).distribution for part, name in parts.items()}
    return {f"{part}{_BROUGHT}": brought for part, brought in found.items() if brought}


@functools.cache
def package_versions() -> dict[str, str]:
    """Versions of the installed distributions that can change a number."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_state() -> dict[str, Any] | None:
    """Commit of the repository that this package lies in, and whether its Python files were changed since."""
    root = Path(ssl_skel.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "ssl_skel", "plugins")
    return {"commit": commit, "dirty": bool(changes)}


def reproduce(record: Record) -> list[str]:
    """Shell commands that rebuild the environment of a record and run its cell again.

    Args:
        record: Any; its suite and plugin must be known to the registry that runs it.
    """
    if record.reproduce:
        return list(record.reproduce)
    packages = record.env.get("packages")
    pins = [f"{name}=={version}" for name, version in packages.items()] if isinstance(packages, dict) else []
    outside = {str(value) for key, value in record.versions.items() if key.endswith(_BROUGHT)}
    pins += ["==".join(value.split(" ")) for value in sorted(outside)]
    git = record.env.get("git")
    lines = []
    if isinstance(git, dict) and git.get("commit"):
        lines.append(f"git checkout {shlex.quote(str(git['commit']))}")
    lines.append(shlex.join(["pip", "install", ".", *pins]))
    cell = record.cell
    lines.append(shlex.join([
        "ssl-skel", "bench", "run", "--suite", record.suite, "-p", cell.plugin, "-b", cell.backbone,
        "-d", f"{cell.dataset}/{cell.split}", "-e", cell.evaluator, "-s", str(cell.seed)]))
    return lines


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True,
                              env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"})
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_mb() -> int:
    import psutil

    return int(psutil.virtual_memory().total // 1_000_000)


def _threads() -> int:
    """Threads of one operation: torch's own count where it is in use, else what the environment asks for."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() else _cores()


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    return _cpu_name()
