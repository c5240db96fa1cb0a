"""The final event of a unit whose process ended without one."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_skel.api import Event, Unit

TAIL_BYTES = 4000


def died(unit: Unit, who: str, code: int | None, log: str = "", detail: Mapping[str, Any] | None = None) -> Event:
    """Say how a process ended.

    Args:
        unit: What it worked on.
        who: "the process", "process 1 of 2".
        code: Its exit code; negative for a signal.
        log: End of what it wrote.
        detail: More, for programs.
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (often the system's answer to lack of memory)" if -code == signal.SIGKILL else ""
        return Event(unit.id, "killed", unit.kind, f"{who} was ended by {name}{hint}", log,
                     {**(detail or {}), "signal": name})
    return Event(unit.id, "crashed", unit.kind, f"{who} ended by itself with exit code {code} before its cell was done",
                 log, {**(detail or {}), "exit_code": code})


def overdue(unit: Unit, seconds: float, log: str) -> Event:
    """Say that a unit ran past its time; `log` ends with the stacks of its process."""
    return Event(unit.id, "timeout", unit.kind, f"killed after {seconds / 3600:g} h (--timeout)", log)


def log_tail(path: Path, skip: int = 0) -> str:
    """The end of what a process wrote to its log, leaving out the first `skip` bytes, which were there before it."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(skip, path.stat().st_size - TAIL_BYTES))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""
