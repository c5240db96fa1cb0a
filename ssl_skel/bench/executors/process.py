"""One child process a cell: a crash, an exit, a kill or a timeout loses that cell only.

Children are forked from a server process that has imported torch but started no thread and touched no device,
so a cell costs milliseconds to start, not the seconds that importing torch takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from ssl_skel.api import Event, Unit
from ssl_skel.bench.worker import run_unit
from ssl_skel.fsio import make_folder
from ssl_skel.runtime import allocator_environment

_PRELOAD = ["torch", "ssl_skel.bench.cell"]
_TAIL_BYTES = 4000


@dataclass
class _Child:
    unit: Unit
    process: ForkServerProcess
    pipe: Connection
    log: Path
    skip: int
    began: float
    final: Event | None = None
    timed_out: bool = False


class ProcessExecutor:
    """Runs up to `jobs` units at once, each in a process of its own.

    Args:
        jobs: Units at once; the machine's threads are divided among them.
        timeout_h: Hours after which a unit is killed, its stack written to its log; None waits for ever.
    """

    def __init__(self, jobs: int = 1, timeout_h: float | None = None) -> None:
        self.slots = max(1, jobs)
        self._timeout_s = timeout_h * 3600 if timeout_h else None
        os.environ.update(allocator_environment())
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOAD)
        self._children: dict[str, _Child] = {}
        self._stillborn: list[Event] = []

    def submit(self, unit: Unit) -> None:
        """Start a child for a unit."""
        log = make_folder(Path(str(unit.options["out"])), "logs") / f"{unit.id}.log"
        skip = log.stat().st_size if log.exists() else 0
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_child, args=(unit, theirs, str(log)), daemon=False)
        try:
            process.start()
        except (OSError, EOFError) as error:
            ours.close()
            self._stillborn.append(Event(unit.id, "crashed", unit.kind, f"no process could be started: {error}"))
            return
        finally:
            theirs.close()
        self._children[unit.id] = _Child(unit, process, ours, log, skip, time.monotonic())

    def wait(self, seconds: float) -> list[Event]:
        """Collect progress and endings; kills units that ran past their time."""
        events, self._stillborn = self._stillborn, []
        if events:
            return events
        handles = [h for c in self._children.values() for h in (c.pipe, c.process.sentinel)]
        wait(handles, timeout=seconds)
        for child in list(self._children.values()):
            events += self._read(child)
            late = self._timeout_s and time.monotonic() - child.began > self._timeout_s
            if late and not child.timed_out and child.process.is_alive():
                child.timed_out = True
                _dump_and_kill(child.process)
            if not child.process.is_alive():
                events += self._read(child)
                events.append(self._ending(child))
                del self._children[child.unit.id]
        return events

    def interrupt(self) -> None:
        """Ask every child to stop; a pretraining writes its checkpoint first."""
        for child in list(self._children.values()):
            child.process.terminate()

    def close(self, grace: float = 10.0) -> None:
        """Ask every child to stop, then kill what is left."""
        self.interrupt()
        until = time.monotonic() + grace
        for child in self._children.values():
            child.process.join(max(0.0, until - time.monotonic()))
            if child.process.is_alive():
                _kill(child.process)
                child.process.join()
        self._children.clear()

    @staticmethod
    def _read(child: _Child) -> list[Event]:
        events = []
        try:
            while child.pipe.poll():
                event: Event = child.pipe.recv()
                if event.status == "progress":
                    events.append(event)
                    if event.stage == "wait":
                        child.began = time.monotonic()
                else:
                    child.final = event
        except (EOFError, OSError):
            pass  # the child is gone; its ending follows from the exit code
        return events

    def _ending(self, child: _Child) -> Event:
        child.process.join()
        code = child.process.exitcode
        child.pipe.close()
        if child.timed_out:
            hours = (self._timeout_s or 0) / 3600
            return Event(child.unit.id, "timeout", child.unit.kind, f"killed after {hours:g} h (--timeout)",
                         _tail(child))
        if child.final is not None:
            return child.final
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (often the system's answer to lack of memory)" if -code == signal.SIGKILL else ""
            return Event(child.unit.id, "killed", child.unit.kind, f"the process was ended by {name}{hint}",
                         _tail(child), {"signal": name})
        return Event(child.unit.id, "crashed", child.unit.kind,
                     f"the process ended by itself with exit code {code} before its cell was done",
                     _tail(child), {"exit_code": code})


def _dump_and_kill(process: ForkServerProcess) -> None:
    """Let the child write the stacks of its threads to its log, then kill it."""
    if process.pid is not None:
        os.kill(process.pid, signal.SIGUSR1)
        process.join(1.0)
    _kill(process)


def _kill(process: ForkServerProcess) -> None:
    """Kill a child and what it has started."""
    process.kill()
    if process.pid is not None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def _tail(child: _Child) -> str:
    """The end of what a child wrote to its log, leaving out what was there before it."""
    try:
        with child.log.open("rb") as handle:
            handle.seek(max(child.skip, child.log.stat().st_size - _TAIL_BYTES))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""


def _child(unit: Unit, pipe: Connection, log: str) -> None:
    """Body of a child process."""
    os.setsid()  # what it starts belongs to its group and dies with it
    _tie_to_server()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(sys.stderr)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    stop = threading.Event()
    if unit.kind == "pretrain":  # an evaluation has nothing to save and just ends
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent decides
    threading.Thread(target=_die_with_parent, args=(pipe,), daemon=True).start()
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            pipe.send(event)

    final = run_unit(unit, send, stop)
    send(final)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries must not keep a finished cell alive


def _tie_to_server() -> None:
    """Ask Linux to kill this process when the fork server ends, which ends with the run, even while a loop in C
    keeps `_die_with_parent` from running."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _die_with_parent(pipe: Connection) -> None:
    """End this process as soon as the one that started it is gone; nobody would collect its result."""
    try:
        pipe.poll(None)
        pipe.recv()
    except (EOFError, OSError):
        pass
    os._exit(1)
