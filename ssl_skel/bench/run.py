"""One `bench run`: writes the plan, walks the grid, tells what happens, renders the board."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_skel import errors, fsio
from ssl_skel.api import Executor
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.console import make_listener
from ssl_skel.bench.executors.build import build_executor
from ssl_skel.bench.grid import Grid, GridReport, Listener
from ssl_skel.bench.planfile import write_plan
from ssl_skel.bench.staleness import digests_of_today
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import DataMissing, SkelError, UsageMistake
from ssl_skel.registry import Catalogue


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that change no number.

    Attributes:
        jobs: Cells at once; None leaves it to the executor.
        threads: CPU threads of each process of a cell; None leaves it to the executor.
        processes: That share the work of a cell.
        executor_settings: ``KEY=VALUE`` for the executor.
        shard: (i, n): only every n-th pretraining, from the i-th, with its evaluations.
        words: Options of the command line, for a hint that repeats it; empty where there was none.
    """

    out: Path
    data_root: Path
    plugins: tuple[str, ...] = ()
    loggers: tuple[str, ...] = ()
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    processes: int = 1
    executor_settings: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    rerun: str = "missing"
    fail_fast: bool = False
    timeout_h: float | None = None
    as_json: bool = False
    checkpoint_s: float = 60.0
    words: tuple[str, ...] = ()

    def for_units(self, suite: str, command: Sequence[str] = ()) -> dict[str, Any]:
        """What a worker needs to know, as plain data."""
        folders = [str(Path(path).absolute()) for path in self.plugins]
        words = [*command, *(word for path in folders for word in ("--plugins", path))] if command else []
        return {"out": str(self.out.absolute()), "data_root": str(self.data_root.absolute()), "suite": suite,
                "plugins": folders, "device": self.device, "loggers": list(self.loggers), "command": words,
                "threads": self.threads, "processes": self.processes, "checkpoint_s": self.checkpoint_s}


def run_plan(plan: Plan, catalogue: Catalogue, make_executor: Callable[..., Executor], options: RunOptions,
             listen: Listener | None = None) -> int:
    """Run a plan to its end and render the board.

    Args:
        plan: What to run.
        catalogue: Where names are looked up.
        make_executor: Executor class, as `build_executor` calls it.
        options: How to run it.
        listen: Told of every event, instead of the terminal.

    Returns:
        The exit code of the command.

    Raises:
        SkelError: If nothing can be run at all, or the output folder can't be written.
    """
    _refuse_empty(plan)
    for name in options.loggers:
        catalogue.load("loggers", name)
    store = RecordStore(options.out).create()
    fsio.sweep(store.root)
    write_plan(store.root, plan)
    listen = listen or make_listener(options.as_json)
    for warning in plan.warnings:
        listen("warning", {"message": warning})
    executor = build_executor(
        make_executor, options.executor_settings, jobs=options.jobs, timeout_h=options.timeout_h,
        device=options.device, processes=options.processes, threads=options.threads)
    own = plan.shard(*options.shard) if options.shard else plan
    units = options.for_units(plan.suite, plan.command)
    grid = Grid(own, store, executor, units, options.rerun, options.fail_fast, listen)
    try:
        with _signals(grid.interrupt):
            report = grid.run()
        paths = _boards(store, plan, catalogue, listen)
    finally:
        listen("stop", {})
    listen("report", {"done": len(report.done), "failed": len(report.failed), "skipped": len(report.skipped),
                      "refused": [r.model_dump() for r in plan.refused], "missing": plan.missing,
                      "failures": [_line(f) for f in report.failed.values()], "paths": paths,
                      "retry": _retry(plan, options), "interrupted": report.interrupted, "out": str(options.out)})
    code = _code(plan, report)
    return code if paths or code else errors.SOME_FAILED


@contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run in good order; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, lambda *_: interrupt()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _refuse_empty(plan: Plan) -> None:
    if plan.evaluations:
        return
    if plan.missing:
        raise DataMissing(next(iter(plan.missing.values())))
    if plan.refused:
        first = plan.refused[0]
        raise UsageMistake(f"nothing can be run: {first.plugin} on {first.dataset}: {first.reason}")
    raise UsageMistake("the plan is empty")


def _boards(store: RecordStore, plan: Plan, catalogue: Catalogue, listen: Listener) -> list[str]:
    """Render the board; a record that somebody broke costs the board, not the report."""
    from ssl_skel.bench.board.files import write_boards

    try:
        paths = write_boards(store, plan.suite, plan.baseline, current=digests_of_today(catalogue),
                             cards=catalogue.plugin_cards())
        return [str(path) for path in paths]
    except SkelError as error:
        listen("warning", {"message": f"no board was written: {error.message}"})
        return []


def _line(failure: Any) -> dict[str, str]:
    return {"id": failure.id, "status": failure.status, "stage": failure.stage, "message": failure.message,
            "plugin": str(failure.cell.get("plugin", "")), "dataset": str(failure.cell.get("dataset", ""))}


def _retry(plan: Plan, options: RunOptions) -> str:
    suite = [] if plan.suite == "custom" else ["--suite", plan.suite]
    words = options.words or (*suite, "--out", str(options.out))
    return shlex.join(["ssl-skel", "bench", "run", *words, "--rerun", "failed"])


def _code(plan: Plan, report: GridReport) -> int:
    if report.interrupted:
        return errors.INTERRUPTED
    if plan.missing:
        return errors.DATA
    return errors.SOME_FAILED if report.failed or report.skipped or plan.refused else errors.OK
