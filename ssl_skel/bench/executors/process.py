"""One child process a cell, one cell a GPU: a crash, an exit, a kill or a timeout loses that cell only.

Children are forked from a server process that has imported torch but started no thread and touched no device,
so a cell costs milliseconds to start, not the seconds that importing torch takes.
"""

from __future__ import annotations

import contextlib
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
from ssl_skel.bench.endings import died, log_tail, overdue
from ssl_skel.bench.executors.resources import gpu_groups, with_threads
from ssl_skel.bench.lifeline import tie_to_parent
from ssl_skel.bench.stacks import dump_stacks, tell_stacks
from ssl_skel.bench.worker import run_unit
from ssl_skel.fsio import make_folder
from ssl_skel.runtime import allocator_environment

_PRELOAD = ["torch", "ssl_skel.bench.cell"]


@dataclass
class _Child:
    unit: Unit
    process: ForkServerProcess
    pipe: Connection
    log: Path
    skip: int
    gpus: tuple[str, ...]
    began: float
    final: Event | None = None
    timed_out: bool = False


class ProcessExecutor:
    """Runs up to `jobs` units at once, each in a process of its own.

    Args:
        jobs: Units at once; the machine's threads are divided among them. None takes one for each GPU (for each
            `processes` of them), and one on a CPU.
        timeout_h: Hours after which a unit is killed, its stack written to its log; None waits for ever.
        device: Of the run.
        processes: Of each unit.
        _: What other executors are told.

    Raises:
        UsageMistake: If a unit needs more GPUs than there are.
    """

    def __init__(self, jobs: int | None = None, timeout_h: float | None = None, device: str = "cpu",
                 processes: int = 1, **_: object) -> None:
        self._gpus = gpu_groups(device, processes) or [()]
        self.slots = jobs or len(self._gpus)
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
        unit = with_threads(unit, self.slots)
        busy = [child.gpus for child in self._children.values()]
        gpus = min(self._gpus, key=busy.count)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_child, args=(unit, theirs, str(log), gpus), daemon=False)
        try:
            process.start()
        except (OSError, EOFError) as error:
            ours.close()
            self._stillborn.append(Event(unit.id, "crashed", unit.kind, f"no process could be started: {error}"))
            return
        finally:
            theirs.close()
        self._children[unit.id] = _Child(unit, process, ours, log, skip, gpus, time.monotonic())

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
        log = log_tail(child.log, child.skip)
        if child.timed_out:
            return overdue(child.unit, self._timeout_s or 0, log)
        return child.final or died(child.unit, "the process", code, log)


def _dump_and_kill(process: ForkServerProcess) -> None:
    """Let the child, and what it has started, write the stacks of their threads to its log, then kill it."""
    if process.pid is not None:
        dump_stacks(process.pid)
        process.join(1.0)
    _kill(process)


def _kill(process: ForkServerProcess) -> None:
    """Kill a child and what it has started."""
    process.kill()
    if process.pid is not None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def _child(unit: Unit, pipe: Connection, log: str, gpus: tuple[str, ...]) -> None:
    """Body of a child process."""
    os.setsid()  # what it starts belongs to its group and dies with it
    tie_to_parent()  # the fork server, which ends with the run
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    tell_stacks()
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


def _die_with_parent(pipe: Connection) -> None:
    """End this process as soon as the one that started it is gone; nobody would collect its result."""
    try:
        pipe.poll(None)
        pipe.recv()
    except (EOFError, OSError):
        pass
    os._exit(1)
