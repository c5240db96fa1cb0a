"""A unit in a process of its own on any machine that sees the output folder: ``python -m ssl_skel.bench.job FOLDER``.

The folder, ``jobs/<unit>/`` of the output folder, holds the unit, its events, its log, and a file that asks it to stop.
Whoever started the unit elsewhere reads the events there; so do executors of clusters.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ssl_skel.api import Event, Unit
from ssl_skel.bench.endings import died, log_tail, overdue
from ssl_skel.bench.lifeline import PARENT, end_with_parent
from ssl_skel.bench.mailbox import STOP, EventReader, EventWriter, read_unit, write_unit
from ssl_skel.bench.stacks import dump_stacks, tell_stacks
from ssl_skel.fsio import make_folder, remove

EVENTS = "events.jsonl"
LOG = "log"
_POLL_S = 0.2


def prepare(unit: Unit) -> Path:
    """Write a unit to its folder, which may hold the events and the log of an earlier try.

    Raises:
        OutputError: If the output folder can't be written.
    """
    folder = make_folder(Path(str(unit.options["out"])), "jobs", unit.id)
    remove(folder / STOP)
    write_unit(folder, unit)
    return folder


def ask_to_stop(folder: Path) -> None:
    """Ask the unit of a folder to stop, a pretraining with a checkpoint."""
    (folder / STOP).touch()


class Job:
    """The process of a unit, and its folder; whatever happens, an ending is added to the events.

    Args:
        folder: As `prepare` left it.
        timeout_s: Seconds of work after which it is killed, its stacks written to its log.
    """

    def __init__(self, folder: Path, timeout_s: float | None = None) -> None:
        self.unit, self._log, self._timeout_s = read_unit(folder), folder / LOG, timeout_s
        self._skip = self._log.stat().st_size if self._log.exists() else 0
        self._events, self._write = EventReader(folder / EVENTS, new=True), EventWriter(folder / EVENTS)
        self._write(Event(self.unit.id, "progress", "begin", f"begins on {platform.node()}"))
        paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(paths),
               "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-m", __name__, str(folder)], env=env, stdout=log,
                                             stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self) -> None:
        """Ask it to stop, a pretraining with a checkpoint."""
        self._process.terminate()

    def wait(self) -> Event:
        """Wait for it; returns the final event."""
        began, final, late = time.monotonic(), None, False
        try:
            while True:
                code = self._process.poll()
                for event in self._events():
                    began = time.monotonic() if event.stage == "wait" else began
                    final = event if event.status != "progress" else final
                if code is not None:
                    break
                if self._timeout_s and time.monotonic() - began > self._timeout_s:
                    late = True
                    dump_stacks(self._process.pid)
                    time.sleep(1.0)
                    os.killpg(self._process.pid, signal.SIGKILL)
                    self._process.wait()
                time.sleep(_POLL_S)
        finally:
            self._process.kill()
        if final is None:
            log = log_tail(self._log, self._skip)
            final = overdue(self.unit, self._timeout_s or 0, log) if late else died(self.unit, "the process", code, log)
            self._write(final)
        return final


def main(folder: Path) -> None:
    """Body of the process."""
    from ssl_skel.bench.worker import run_unit

    unit, stop, report = read_unit(folder), threading.Event(), EventWriter(folder / EVENTS)
    if unit.kind == "pretrain":  # an evaluation has nothing to save and just ends
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(folder / STOP,), daemon=True).start()
    report(run_unit(unit, report, stop))


def _watch(path: Path) -> None:
    """Turn the file that asks to stop into the signal."""
    while not path.exists():
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    tell_stacks()
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries must not keep a finished cell alive
