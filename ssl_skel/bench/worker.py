"""Runs one unit, wherever an executor has put it, and turns whatever happens into one final event."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ssl_skel.api import Event, Unit
from ssl_skel.bench.claims import claimed
from ssl_skel.errors import Diverged, SkelError
from ssl_skel.progress import reporting

Report = Callable[[Event], None]
_ROOM = "Run fewer cells at once (--jobs), or split the batch (train.accumulate)."


def run_unit(unit: Unit, report: Report, stop: threading.Event) -> Event:
    """Run a unit to its end; the only place besides plugin loading that catches everything.

    Args:
        unit: What to run.
        report: Receives progress events.
        stop: Set to end a pretraining after its current step, with a checkpoint.

    Returns:
        The final event: ``ok``, or how it failed.
    """
    return _caught(unit, report, lambda tell: _run_claimed(unit, tell, stop))


def run_share(unit: Unit, report: Report, stop: threading.Event) -> Event:
    """Run this process's share of a unit that several processes work on; `ssl_skel.bench.ranks` starts them.

    Args:
        unit: A pretraining; or an evaluation, of which only the features are extracted.
        report: Receives progress events.
        stop: Set in the first process to end a pretraining soon, with a checkpoint.

    Returns:
        The final event of this process.
    """
    return _caught(unit, report, lambda tell: _run_joined(unit, tell, stop))


def _caught(unit: Unit, report: Report, work: Callable[[Report], None]) -> Event:
    """Turn whatever happens in `work` into the final event."""
    from ssl_skel.bench.ranks import RanksFailed
    from ssl_skel.train import Interrupted

    stage: list[str] = [unit.kind]

    def tell(event: Event) -> None:
        stage[0] = event.stage or stage[0]
        report(event)

    try:
        with reporting(lambda values: tell(Event(unit.id, "progress", stage[0], detail=values))):
            work(tell)
        return Event(unit.id, "ok", stage[0])
    except Interrupted:
        return Event(unit.id, "interrupted", stage[0], "stopped on request; a checkpoint was written")
    except RanksFailed as error:
        return error.event
    except Diverged as error:
        return Event(unit.id, "diverged", stage[0], error.message,
                     detail={"step": error.step, "clips": error.clips})
    except SkelError as error:
        return Event(unit.id, "refused", stage[0], error.message)
    except SystemExit as error:
        return Event(unit.id, "crashed", stage[0], f"the cell called sys.exit({error.code!r})"[:500], tail())
    except Exception as error:  # the cell boundary: a method may raise anything, its siblings go on
        if memory := memory_that_ran_out(error):
            line = f"out of memory on the {memory}. {_ROOM}"
            return Event(unit.id, "error", stage[0], line, tail(), {"memory": memory})
        line = traceback.format_exception_only(error)[-1].splitlines()[0][:500]
        return Event(unit.id, "error", stage[0], line, tail())


def memory_that_ran_out(error: Exception) -> str:
    """Say which memory an exception is about: ``host``, ``device``, or neither."""
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "device"
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's way to say it of a CPU
    return "host" if told or isinstance(error, MemoryError) else ""


def _run_claimed(unit: Unit, tell: Report, stop: threading.Event) -> None:
    """Run a unit, unless another run that shares the folder has finished it."""
    from ssl_skel.bench.cell import is_finished, run_evaluation, run_pretraining
    from ssl_skel.bench.ranks import processes_of, run_ranks
    from ssl_skel.train import Interrupted

    def waiting(line: str) -> None:
        if stop.is_set():
            raise Interrupted
        tell(Event(unit.id, "progress", "wait", line))

    with claimed(Path(unit.options["out"]), unit.id, waiting, stop.set) as waited:
        if (waited or not unit.options.get("again")) and is_finished(unit):
            return
        if unit.kind == "evaluate":
            run_evaluation(unit, tell)
        elif processes_of(unit) > 1 and unit.cell["train"]["epochs"]:
            run_ranks(unit, tell, stop)
        else:
            run_pretraining(unit, tell, stop)


def _run_joined(unit: Unit, tell: Report, stop: threading.Event) -> None:
    """Join the other processes of a unit and do this one's share."""
    from ssl_skel.bench.cell import extract_features, run_pretraining
    from ssl_skel.runtime import join_processes

    own = replace(unit, options={**unit.options, "device": join_processes(str(unit.options["device"]))})
    if unit.kind == "pretrain":
        run_pretraining(own, tell, stop)
    else:
        extract_features(own)


def tail(lines: int = 30) -> str:
    """Last lines of the traceback being handled."""
    return "\n".join(traceback.format_exc().splitlines()[-lines:])
