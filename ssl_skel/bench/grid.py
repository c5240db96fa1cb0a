"""Runs a plan: submits cells as their turn comes, keeps finished ones, records failures apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ssl_skel.api import Event, Executor, Unit
from ssl_skel.bench.cards import is_pretrained
from ssl_skel.bench.cells import EvalCell, Plan, PretrainCell
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.holders import held
from ssl_skel.bench.provenance import environment
from ssl_skel.bench.record import Failure, FailureStatus
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.timestamps import now

Listener = Callable[[str, Mapping[str, Any]], None]
_STOPPED = ("interrupted", "killed", "crashed")
"""How a cell may end when its run is asked to stop."""


@dataclass
class GridReport:
    """How a run ended.

    Attributes:
        done: Ids of evaluations with a record.
        failed: Failures of this run, by cell id.
        skipped: Evaluations not run because their pretraining failed: id -> pretraining id.
        interrupted: Whether the user stopped it.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


class Grid:
    """Walks the cells of a plan through an executor.

    Args:
        plan: What to run.
        store: Output folder.
        executor: Where to run.
        options: Plain data that every unit carries (folders, device, threads).
        rerun: ``missing`` (all without a record), ``failed`` (only those that failed before), ``stale`` or ``all``.
        fail_fast: Stop at the first failure.
        listen: Told of every event: name and values.
    """

    def __init__(self, plan: Plan, store: RecordStore, executor: Executor, options: Mapping[str, Any],
                 rerun: str = "missing", fail_fast: bool = False, listen: Listener | None = None) -> None:
        self.plan, self.store, self.executor, self.options = plan, store, executor, dict(options)
        self.rerun, self.fail_fast = rerun, fail_fast
        self.listen: Listener = listen or (lambda name, values: None)
        self.report = GridReport()
        self.running: dict[str, PretrainCell | EvalCell] = {}
        if isinstance(executor, InlineExecutor):
            executor.told = self._handle
        self.shared: set[str] = set()

    def run(self) -> GridReport:
        """Run to the end, or until `interrupt`."""
        waiting = self._wanted()
        needed = {cell.pretrain_id for cell in waiting}
        pretrains = [c for c in self.plan.pretrainings
                     if c.id in needed and (self.rerun == "all" or not self._pretrained(c.id))]
        ready: list[PretrainCell | EvalCell] = []
        blocked = list(waiting)
        self.listen("start", {"pretrainings": len(pretrains), "evaluations": len(waiting),
                              "kept": len(self.report.done)})
        try:
            while (pretrains or ready or blocked or self.running) and not self.report.interrupted:
                ready += self._release(blocked, {c.id for c in pretrains})
                self._submit(ready, pretrains)
                if not self.running and not ready and not pretrains:
                    break
                if not self.running:
                    time.sleep(0.5)  # another run holds all that is left
                for event in self.executor.wait(0.5):
                    self._handle(event)
                if self.fail_fast and self.report.failed:
                    break
        except KeyboardInterrupt:
            self.report.interrupted = True
        finally:
            self.executor.close()
        return self.report

    def interrupt(self) -> None:
        """End the run soon: cells are asked to stop, a pretraining with a checkpoint. For a signal handler.

        Raises:
            KeyboardInterrupt: If it was asked before, or what runs can't be asked.
        """
        if self.report.interrupted:
            raise KeyboardInterrupt
        self.report.interrupted = True
        self.executor.interrupt()

    def _wanted(self) -> list[EvalCell]:
        """Evaluations to run; those that have a record are kept."""
        # Cells are known again by what they are, not by id: mending the code of a plugin gives them new ids.
        failed = {_row(failure.cell) for failure in self.store.failures()} if self.rerun == "failed" else set()
        recorded = {record.cell for record in self.store.scan()[0]} if self.rerun == "stale" else set()
        rows = {cell.id: _row(cell.model_dump(mode="json")) for cell in self.plan.pretrainings}
        choose: dict[str, Callable[[EvalCell], bool]] = {
            "missing": lambda cell: True, "all": lambda cell: True,
            "failed": lambda cell: rows[cell.pretrain_id] in failed or _row(cell.model_dump(mode="json")) in failed,
            "stale": lambda cell: cell.key() in recorded,  # the same cell under another id: code or data changed
        }
        wanted = []
        for cell in self.plan.evaluations:
            if self.rerun != "all" and self.store.has(cell.id):
                self.report.done.append(cell.id)
            elif choose[self.rerun](cell):
                wanted.append(cell)
        return wanted

    def _pretrained(self, pretrain_id: str) -> bool:
        return is_pretrained(self.store.pretrain_folder(pretrain_id))

    def _release(self, blocked: list[EvalCell], pending: set[str]) -> list[EvalCell]:
        """Take from `blocked` what can run now; give up what lost its pretraining."""
        free = []
        for cell in list(blocked):
            source = cell.pretrain_id
            if source in self.report.failed:
                self.report.skipped[cell.id] = source
                blocked.remove(cell)
            elif source not in pending and source not in self.running:
                free.append(cell)
                blocked.remove(cell)
        return free

    def _submit(self, ready: list[PretrainCell | EvalCell], pretrains: list[PretrainCell]) -> None:
        """Fill the slots, evaluations first; what another run is at work on is left for later."""
        free = self.executor.slots - len(self.running)
        elsewhere = held(self.store.root) if free > 0 and (ready or pretrains) else {}
        self.shared |= {cell.id for cell in (*ready, *pretrains) if cell.id in elsewhere}
        for cell in [cell for cell in (*ready, *pretrains) if cell.id not in elsewhere][:max(0, free)]:
            (pretrains if isinstance(cell, PretrainCell) else ready).remove(cell)  # type: ignore[arg-type]
            kind: Literal["pretrain", "evaluate"] = "pretrain" if isinstance(cell, PretrainCell) else "evaluate"
            options = {**self.options, "again": self.rerun == "all" and cell.id not in self.shared}
            unit = Unit(cell.id, kind, cell.model_dump(mode="json"), options)
            self.running[cell.id] = cell
            self.listen("begin", {"id": cell.id, "kind": kind, "title": cell.title})
            self.executor.submit(unit)

    def _handle(self, event: Event) -> None:
        cell = self.running.get(event.id)
        if cell is None:
            return
        if event.status == "progress":
            self.listen("progress", {"id": event.id, "stage": event.stage, "message": event.message, **event.detail})
            return
        del self.running[event.id]
        if event.status in _STOPPED and self.report.interrupted:
            return  # a signal to the whole group (timeout, a scheduler, Ctrl-C) may end a cell before it is asked to
        if event.status == "ok":
            event = self._confirm(cell, event)
        if event.status == "ok":
            self.store.clear_failure(cell.id)
            if isinstance(cell, EvalCell):
                self.report.done.append(cell.id)
        else:
            self._fail(cell, event)
        self.listen("end", {"id": event.id, "status": event.status, "stage": event.stage, "title": cell.title,
                            "message": event.message})

    def _confirm(self, cell: PretrainCell | EvalCell, event: Event) -> Event:
        """A worker's word is not enough: what it says is done must lie on the disk."""
        there = self._pretrained(cell.id) if isinstance(cell, PretrainCell) else self.store.has(cell.id)
        if there:
            return event
        return Event(event.id, "crashed", event.stage, "the worker reported success but left no valid result")

    def _fail(self, cell: PretrainCell | EvalCell, event: Event) -> None:
        status = event.status if event.status in get_args(FailureStatus) else "error"
        failure = Failure(id=cell.id, cell=cell.model_dump(mode="json"), status=status,
                          stage=event.stage, message=event.message, traceback=event.traceback,
                          detail=dict(event.detail), env=environment(), when=now())
        self.report.failed[cell.id] = failure
        self.store.write_failure(failure)


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    """What a cell is, whatever its id."""
    keys = ("plugin", "label", "backbone", "dataset", "split", "seed", "evaluator", "streams", "fusion")
    return tuple(str(cell.get(key, "")) for key in keys)
