"""Who holds which cell of an output folder now: a look at the claims that takes no time and changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ssl_skel.bench.claims import STALE_S, host_mark, started

MAX_BYTES = 1000


@dataclass(frozen=True)
class Holder:
    """A process at work on a cell.

    Attributes:
        host: Name of its machine.
        pid: Its process id there.
        since: Seconds since 1970, by that machine's clock; None if it did not say.
    """

    host: str
    pid: str
    since: float | None


def held(out: Path) -> dict[str, Holder]:
    """Cells that seem to be worked on, by any run on the folder; `claims` looks closer before it decides.

    Args:
        out: Output folder.

    Returns:
        Cell id -> holder.
    """
    found = {}
    for claim in sorted((out / "claims").glob("*.*.*.*")):
        cell, mark, pid, start = (*claim.name.split("."), "", "", "")[:4]
        try:
            own = mark == host_mark()
            lives = started(int(pid)) == start if own else abs(time.time() - claim.stat().st_mtime) < STALE_S
            if lives:
                found[cell] = _holder(claim, pid)
        except (OSError, ValueError):
            continue  # released meanwhile, or no claim
    return found


def _holder(claim: Path, pid: str) -> Holder:
    with claim.open("rb") as handle:
        told = handle.read(MAX_BYTES).decode(errors="replace").split()
    host, since = (told[0], told[2]) if len(told) == 3 else ("?", "")
    return Holder(host, pid, float(since) if since.isdecimal() else None)
