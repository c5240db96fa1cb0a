"""One cell in several processes of this machine, started as ``torchrun`` starts them.

The process that holds the cell's claim starts a launcher (``python -m ssl_skel.bench.ranks FOLDER N``, torch's elastic
agent without restarts), that starts the ranks (`ssl_skel.bench.rank`). They share a folder: the unit, the events of
rank 0, the ending of every rank, and a file that asks them to stop. A rank that dies ends the others, and the cell.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ssl_skel.api import Event, Unit
from ssl_skel.bench.endings import died
from ssl_skel.bench.lifeline import PARENT, end_with_parent
from ssl_skel.bench.mailbox import STOP, EventReader, write_unit
from ssl_skel.bench.stacks import tell_stacks
from ssl_skel.fsio import make_folder, write_atomic

EVENTS = "events.jsonl"
FAILURE = "failure.json"
_POLL_S = 0.1


class RanksFailed(Exception):
    """The processes of a cell ended without a result; carries the cell's final event."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.message)
        self.event = event


def processes_of(unit: Unit) -> int:
    """How many processes share the work of a unit."""
    return int(unit.options.get("processes") or 1)


def ending_path(folder: Path, rank: int) -> Path:
    """Where a rank writes its final event."""
    return folder / f"rank{rank}.jsonl"


def run_ranks(unit: Unit, report: Callable[[Event], None], stop: threading.Event) -> None:
    """Run a unit in `processes_of` processes and wait for them.

    Args:
        unit: A pretraining; or an evaluation, of which the ranks extract the features.
        report: Receives progress events.
        stop: Set to end a pretraining soon, with a checkpoint.

    Raises:
        RanksFailed: If they did not finish it.
        OutputError: If the output folder can't be written.
    """
    count = processes_of(unit)
    folder = make_folder(Path(unit.options["out"]), "jobs", f"{unit.id}-ranks")
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_unit(folder, unit)
    events = EventReader(folder / EVENTS)
    launcher = subprocess.Popen([sys.executable, "-m", __name__, str(folder), str(count)], env=_environment(unit),
                                stdin=subprocess.DEVNULL)
    try:
        while launcher.poll() is None:
            _pass_on(events, report)
            if stop.is_set():
                (folder / STOP).touch()
            time.sleep(_POLL_S)
        _pass_on(events, report)
        event = _ending(unit, folder, count, launcher.returncode)
    finally:
        launcher.kill()  # the ranks die with it
        launcher.wait()
    shutil.rmtree(folder, ignore_errors=True)
    if event.status != "ok":
        raise RanksFailed(event)


def _pass_on(events: EventReader, report: Callable[[Event], None]) -> None:
    for event in events():
        report(event)


def _environment(unit: Unit) -> dict[str, str]:
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(paths),
             "OMP_NUM_THREADS": str(unit.options.get("threads") or 1)}
    if sys.platform.startswith("linux"):
        found.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine; a host name need not resolve
    return found


def _ending(unit: Unit, folder: Path, count: int, code: int) -> Event:
    """The final event of the unit, from what the ranks left behind."""
    endings = {rank: found[-1] for rank in range(count) if (found := EventReader(ending_path(folder, rank))())}
    first = endings.get(0)
    if code == 0 and first is not None:
        return first
    failed = _failures(folder)
    silent = next((rank for rank in failed if rank not in endings), None)
    if silent is not None:
        return died(unit, f"process {silent} of {count}", failed[silent], detail={"rank": silent})
    bad = [rank for rank, event in endings.items() if event.status not in ("ok", "interrupted")]
    if bad:  # the others follow the first
        return endings[min(bad, key=lambda rank: ending_path(folder, rank).stat().st_mtime_ns)]
    return died(unit, f"the launcher of {count} processes", code)


def _failures(folder: Path) -> dict[int, int]:
    """Exit codes of the ranks that failed first, as the launcher saw them."""
    try:
        return {int(rank): int(code) for rank, code in json.loads((folder / FAILURE).read_text()).items()}
    except (OSError, ValueError):
        return {}


def _launch(folder: Path, count: int) -> int:
    """Body of the launcher."""
    end_with_parent()
    tell_stacks()
    os.environ[PARENT] = str(os.getpid())
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=folder.name, rdzv_backend="c10d",
                          rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1", max_restarts=0,
                          logs_specs=DefaultLogsSpecs(log_dir=str(folder / "torchrun")))
    try:
        elastic_launch(config, sys.executable)("-m", "ssl_skel.bench.rank", str(folder))
    except ChildFailedError as error:
        write_atomic(folder / FAILURE, json.dumps({rank: one.exitcode for rank, one in error.failures.items()}))
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(_launch(Path(sys.argv[1]), int(sys.argv[2])))
