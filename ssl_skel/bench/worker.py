"""Runs one unit, wherever an executor has put it, and turns whatever happens into one final event."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from ssl_skel.api import Event, Unit
from ssl_skel.bench.claims import claimed
from ssl_skel.errors import Diverged, SkelError

Report = Callable[[Event], None]


def run_unit(unit: Unit, report: Report, stop: threading.Event) -> Event:
    """Run a unit to its end; the only place besides plugin loading that catches everything.

    Args:
        unit: What to run.
        report: Receives progress events.
        stop: Set to end a pretraining after its current step, with a checkpoint.

    Returns:
        The final event: ``ok``, or how it failed.
    """
    from ssl_skel.train import Interrupted

    stage: list[str] = [unit.kind]

    def tell(event: Event) -> None:
        stage[0] = event.stage or stage[0]
        report(event)

    try:
        _run_claimed(unit, tell, stop)
        return Event(unit.id, "ok", stage[0])
    except Interrupted:
        return Event(unit.id, "interrupted", stage[0], "stopped on request; a checkpoint was written")
    except Diverged as error:
        return Event(unit.id, "diverged", stage[0], error.message,
                     detail={"step": error.step, "clips": error.clips})
    except SkelError as error:
        return Event(unit.id, "refused", stage[0], error.message)
    except MemoryError:
        return Event(unit.id, "error", stage[0], "out of memory", tail())
    except SystemExit as error:
        return Event(unit.id, "crashed", stage[0], f"the cell called sys.exit({error.code!r})"[:500], tail())
    except Exception as error:  # the cell boundary: a method may raise anything, its siblings go on
        line = traceback.format_exception_only(error)[-1].splitlines()[0][:500]
        return Event(unit.id, "error", stage[0], line, tail())


def _run_claimed(unit: Unit, tell: Report, stop: threading.Event) -> None:
    """Run a unit, unless another run that shares the folder has finished it."""
    from ssl_skel.bench.cell import is_finished, run_evaluation, run_pretraining
    from ssl_skel.train import Interrupted

    def waiting(line: str) -> None:
        if stop.is_set():
            raise Interrupted
        tell(Event(unit.id, "progress", "wait", line))

    with claimed(Path(unit.options["out"]), unit.id, waiting) as waited:
        if (waited or not unit.options.get("again")) and is_finished(unit):
            return
        if unit.kind == "pretrain":
            run_pretraining(unit, tell, stop)
        else:
            run_evaluation(unit, tell)


def tail(lines: int = 30) -> str:
    """Last lines of the traceback being handled."""
    return "\n".join(traceback.format_exc().splitlines()[-lines:])
