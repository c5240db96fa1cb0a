"""Claims: of all the runs that share an output folder, one at a time works on a cell.

A claim is a file ``claims/<cell>.<host>.<pid>.<start>``; in it stands, for people, on which host, by which process and
since when. Whoever wants a cell makes a file of its own and then looks for others; if there is a living one it takes
its own back and waits. Both of two that come at once may step back, but never do both go on; and since no two claims
share a name, removing a dead one can't hit a living one. That holds on a network file system too: it needs nothing of
it but that a file that was made is seen afterwards.

A claim lives as long as its process, which can be asked on the same host, and elsewhere as long as its file is
touched every few seconds. Ages are measured by the file system's clock; as that may jump, a claim that looks dead, or
comes from the future, is watched for a while before it counts as dead.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_skel.fsio import make_folder, output_error

BEAT_S = 5.0
"""Seconds between two touches of a held claim."""
STALE_S = 60.0
"""A claim of another host that was not touched for so long looks dead."""
WATCH_S = 15.0
"""It is dead if it is not touched in so many seconds of our own either."""
POLL_S = 0.5


@contextmanager
def claimed(out: Path, cell_id: str, waiting: Callable[[str], None],
            lost: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold a cell; waits for whoever holds it.

    Args:
        out: Output folder.
        cell_id: The cell.
        waiting: Called about twice a second while another holds it, with a line that says who; may raise to give up.
        lost: Called, by another thread, if the claim is taken away: this machine slept, and was taken for dead.

    Yields:
        Whether another held it meanwhile, and so may have finished it.

    Raises:
        OutputError: If the folder can't be written.
    """
    folder = make_folder(out, "claims")
    own = folder / f"{cell_id}.{host_mark()}.{os.getpid()}.{started(os.getpid())}"
    waited = False
    while holder := _try(own):
        waited = True
        waiting(f"waits for process {holder.split('.')[2]}, which works on this cell")
        time.sleep(POLL_S * random.Random().uniform(0.5, 1.5))  # unseeded: two that meet must part
    released = threading.Event()
    threading.Thread(target=_beat, args=(own, released, lost), daemon=True).start()
    try:
        yield waited
    finally:
        released.set()
        _drop(own)


def _try(own: Path) -> str:
    """Make the claim unless another lives; returns the name of that one, or nothing."""
    try:
        with own.open("x", encoding="utf-8") as handle:
            handle.write(f"{platform.node()} {os.getpid()} {time.time():.0f}")
        now = own.stat().st_mtime
        for other in own.parent.glob(f"{own.name.partition('.')[0]}.*"):
            if other != own and _lives(other, now):
                _drop(own)
                return other.name
            if other != own:
                _drop(other)
    except OSError as error:
        raise output_error(own, error) from None
    return ""


def _lives(claim: Path, now: float) -> bool:
    """Whether the holder of a claim is still at work; `now` is the file system's time."""
    parts = claim.name.split(".")
    if len(parts) != 4:
        return False
    _, host, pid, start = parts
    if host == host_mark():
        return pid.isdigit() and started(int(pid)) == start
    try:
        touched = claim.stat().st_mtime
        return abs(now - touched) < STALE_S or _beats(claim, touched)
    except FileNotFoundError:
        return False  # released while we looked


def _beats(claim: Path, touched: float) -> bool:
    """Whether a claim is touched while we watch it."""
    until = time.monotonic() + WATCH_S
    while time.monotonic() < until:
        time.sleep(min(POLL_S, WATCH_S))
        if claim.stat().st_mtime != touched:
            return True
    return False


def _beat(claim: Path, released: threading.Event, lost: Callable[[], None]) -> None:
    while not released.wait(BEAT_S):
        try:
            os.utime(claim)
        except FileNotFoundError:
            if not released.is_set():
                lost()
            return
        except OSError:
            continue  # a network file system that is away for a moment


def _drop(claim: Path) -> None:
    with contextlib.suppress(OSError):
        claim.unlink()


def host_mark() -> str:
    """Names what process ids are counted in: this boot of this host, or this container."""
    marks = [platform.node()]
    with contextlib.suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        marks.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:12]


def started(pid: int) -> str:
    """When a process started, so that a later one with the same id is told from it; empty if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return ""
