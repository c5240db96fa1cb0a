"""Asks processes that hang where they are: each writes the stacks of its threads to its log."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from pathlib import Path

SIGNAL = signal.SIGUSR1


def tell_stacks() -> None:
    """Write the stacks of all threads to standard error at a crash, and whenever `dump_stacks` asks."""
    faulthandler.enable(sys.stderr)
    faulthandler.register(SIGNAL, file=sys.stderr, all_threads=True)


def dump_stacks(pid: int) -> None:
    """Ask a process, and those it has started that know the question, for their stacks."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                if _catches(child.pid):
                    os.kill(child.pid, SIGNAL)
    with contextlib.suppress(OSError):
        os.kill(pid, SIGNAL)


def _catches(pid: int) -> bool:
    """Whether a process of Linux handles the signal; it would end one that doesn't."""
    with Path(f"/proc/{pid}/status").open(encoding="ascii", errors="replace") as handle:
        mask = next(line for line in handle if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (SIGNAL - 1) & 1)
