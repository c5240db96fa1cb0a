"""One of the processes that share a cell: ``python -m ssl_skel.bench.rank FOLDER``; see `ssl_skel.bench.ranks`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from ssl_skel.api import Event
from ssl_skel.bench.lifeline import end_with_parent
from ssl_skel.bench.mailbox import STOP, EventWriter, read_unit
from ssl_skel.bench.ranks import EVENTS, ending_path
from ssl_skel.bench.stacks import tell_stacks

_WATCH_S = 0.2


def main(folder: Path) -> int:
    """Work on this process's share; returns the exit code."""
    from ssl_skel.bench.worker import run_share

    rank, stop = int(os.environ["RANK"]), threading.Event()
    report: Callable[[Event], None] = _ignore
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if rank == 0:
        threading.Thread(target=_watch, args=(folder / STOP, stop), daemon=True).start()
        report = EventWriter(folder / EVENTS)
    final = run_share(read_unit(folder), report, stop)
    EventWriter(ending_path(folder, rank))(final)
    return 0 if final.status in ("ok", "interrupted") else 1


def _ignore(event: Event) -> None:
    """Only the first process reports."""


def _watch(path: Path, stop: threading.Event) -> None:
    while not stop.wait(_WATCH_S):
        if path.exists():
            stop.set()


if __name__ == "__main__":
    end_with_parent()
    tell_stacks()
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of libraries must not keep a finished share alive
