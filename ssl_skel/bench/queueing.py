"""The queue for memory: cells that share a machine start when what they need is free, in the order they came."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from ssl_skel.bench.claims import host_mark, started
from ssl_skel.bench.memory import LIMIT, Need, held_mb, machine_mb
from ssl_skel.errors import TooLarge
from ssl_skel.fsio import make_folder, remove, write_atomic

FOLDER = "memory"
POLL_S = 1.0
_LESS = f"Run fewer cells at once (--jobs), raise train.accumulate, or say with {LIMIT} how much may be taken."


@dataclass(frozen=True)
class _Promise:
    """Memory that an earlier cell of this machine was given."""

    mb: float
    used: float


class Place:
    """A place in the queue of one device; see `queue`."""

    def __init__(self, out: Path, device: torch.device) -> None:
        self._device = device
        self._folder = make_folder(out, FOLDER)
        self._path = self._folder / f"{host_mark()}.{os.getpid()}.{started(os.getpid())}"

    def take(self, need: Need, waiting: Callable[[str], None]) -> None:
        """Wait until there is room, and hold it until the place is left.

        Args:
            need: Of the cell.
            waiting: Called about once a second while there is none, with a line that says why; may raise to give up.

        Raises:
            TooLarge: If the machine can't hold it: not at all, or not beside what is no cell of this folder.
            OutputError: If the folder can't be written.
        """
        limit, _ = machine_mb(self._device)
        said = f"needs about {need.mb / 1000:.1f} GB ({need.how})"
        if need.how != "bound" and need.mb > limit:
            raise TooLarge(f"the cell {said}, {self._device} has {limit / 1000:.1f} GB for cells", _LESS)
        write_atomic(self._path, f"{self._device} {need.mb:.0f}\n")
        while True:
            free, ahead = machine_mb(self._device)[1], list(self._ahead())
            free -= sum(max(0.0, promise.mb - promise.used) for promise in ahead)
            room = sum(promise.mb for promise in ahead) + need.mb <= limit
            if need.mb - held_mb(self._device) <= free and (room or not ahead):
                return
            if not ahead:
                if need.how == "bound":
                    return  # nobody to wait for, and it may well take less
                raise TooLarge(f"the cell {said}, only {free / 1000:.1f} GB are free on {self._device}", _LESS)
            waiting(f"waits for memory: {said}, {max(0.0, free) / 1000:.1f} GB are free")
            time.sleep(POLL_S)

    def leave(self) -> None:
        """Give the memory back."""
        remove(self._path)

    def _ahead(self) -> Iterator[_Promise]:
        """Promises to living processes that came before this one; those of dead ones are removed."""
        own = self._path.stat().st_mtime_ns
        for path in sorted(self._folder.glob(f"{host_mark()}.*")):
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                _, pid, start = path.name.split(".")
                if started(int(pid)) != start:
                    path.unlink()
                elif path != self._path and (path.stat().st_mtime_ns, path.name) < (own, self._path.name):
                    device, mb = path.read_text().split()
                    if device == str(self._device):
                        # What another process holds on a GPU is not asked for: it counts as taken.
                        used = float(mb) if device != "cpu" else psutil.Process(int(pid)).memory_info().rss / 1e6
                        yield _Promise(float(mb), used)


@contextmanager
def queue(out: Path, device: torch.device) -> Iterator[Place]:
    """Stand in the queue of a device for the time of a cell.

    Args:
        out: Output folder; the cells of all runs that share it are counted.
        device: Where the cell runs.

    Raises:
        OutputError: If the folder can't be written.
    """
    place = Place(out, device)
    try:
        yield place
    finally:
        place.leave()
