"""Runs units in this process, one after the other: the simplest executor, and the one to debug in."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ssl_skel.api import Event, Unit
from ssl_skel.bench.executors.resources import with_threads
from ssl_skel.bench.worker import run_unit


class InlineExecutor:
    """Executes at `wait`; a crash of the interpreter takes the run with it (use ``process`` for isolation).

    Args:
        jobs: Ignored beyond one; units share this process.
        timeout_h: Not enforced here.
        _: What other executors are told.

    Attributes:
        told: Given progress as it comes, since nobody can `wait` while a unit runs; by default it comes with the end.
    """

    slots = 1
    told: Callable[[Event], None] | None = None

    def __init__(self, jobs: int | None = None, timeout_h: float | None = None, **_: object) -> None:
        self._queue: list[Unit] = []
        self._progress: list[Event] = []
        self._running = ""
        self._stop = threading.Event()

    def submit(self, unit: Unit) -> None:
        """Queue a unit for the next `wait`."""
        self._queue.append(with_threads(unit, 1))

    def wait(self, seconds: float) -> list[Event]:
        """Run what is queued and return its events."""
        events: list[Event] = []
        while self._queue:
            unit = self._queue.pop(0)
            self._running = unit.kind
            events.append(run_unit(unit, self.told or self._progress.append, self._stop))
            self._running = ""
        progress, self._progress[:] = list(self._progress), []
        return progress + events

    def interrupt(self) -> None:
        """Let a pretraining stop after its step; an evaluation is left at once.

        Raises:
            KeyboardInterrupt: If an evaluation is running.
        """
        self._stop.set()
        self._queue.clear()
        if self._running == "evaluate":
            raise KeyboardInterrupt

    def close(self, grace: float = 10.0) -> None:
        """Forget what is queued."""
        self._queue.clear()
