"""Units as tasks of a Ray cluster: one on this machine that is started for the run, or one that is given.

The output folder must be one that all nodes see. A unit whose node or worker is lost is submitted once more, and goes
on from its checkpoint; what a unit itself does wrong is never tried again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ssl_skel.api import Event, Unit
from ssl_skel.bench.job import EVENTS, LOG, Job, ask_to_stop, prepare
from ssl_skel.bench.mailbox import EventReader
from ssl_skel.errors import UsageMistake
from ssl_skel.schema import Model


class RayConfig(Model):
    """Keys of ``--executor-set``.

    Attributes:
        address: Of the cluster (``host:port``, ``auto``); None starts one on this machine, unless RAY_ADDRESS is set.
        cpus: Of each process of a cell; also its threads, unless ``--threads`` says otherwise.
        gpus: Of each cell; by default one a process where the device is CUDA or ``auto`` and the cluster has GPUs.
        memory_gb: That Ray reserves for each cell.
        retries: How often a cell is submitted again after its node was lost.
    """

    address: str | None = None
    cpus: float = Field(1, gt=0)
    gpus: float | None = Field(None, ge=0)
    memory_gb: float | None = Field(None, gt=0)
    retries: int = Field(1, ge=0)


@dataclass
class _Task:
    unit: Unit
    folder: Path
    events: EventReader
    lost: int = 0


class RayExecutor:
    """Runs every unit as a task, with the resources of a cell.

    Args:
        jobs: Tasks at once; None takes what the cluster's CPUs and GPUs allow now.
        timeout_h: Hours of work after which a unit is killed, its stacks written to its log.
        device: Of the run.
        processes: Of each unit, all on one node.
        threads: CPU threads of each process.
        cfg: Keys of ``--executor-set``.

    Raises:
        UsageMistake: If Ray is not installed, or the cluster does not answer or has no room for one cell.
    """

    Config: ClassVar[type[Model]] = RayConfig
    remote: ClassVar[bool] = True

    def __init__(self, jobs: int | None = None, timeout_h: float | None = None, device: str = "cpu",
                 processes: int = 1, threads: int | None = None, cfg: RayConfig | None = None) -> None:
        self._cfg = cfg or RayConfig()
        self._ray = _connect(self._cfg.address)
        self._timeout_s = timeout_h * 3600 if timeout_h else None
        self._threads = threads or max(1, int(self._cfg.cpus))
        there = self._ray.cluster_resources()
        gpus = self._cfg.gpus
        if gpus is None:
            gpus = processes if device == "cuda" or (device == "auto" and there.get("GPU")) else 0
        self._needs = {"num_cpus": self._cfg.cpus * processes, "num_gpus": gpus}
        if self._cfg.memory_gb:
            self._needs["memory"] = self._cfg.memory_gb * 1e9
        room = min([int(there.get(kind, 0) // need) for kind, need in
                    (("CPU", self._needs["num_cpus"]), ("GPU", gpus)) if need])
        if room < 1:
            raise UsageMistake(f"the Ray cluster has no room for a cell of {self._needs['num_cpus']:g} CPUs and "
                               f"{gpus:g} GPUs", "Set cpus and gpus with --executor-set.")
        self.slots = jobs or room
        self._tasks: dict[Any, _Task] = {}

    def submit(self, unit: Unit) -> None:
        """Start a task for a unit."""
        unit = replace(unit, options={**unit.options, "threads": self._threads})
        folder = prepare(unit)
        self._start(_Task(unit, folder, EventReader(folder / EVENTS, new=True)))

    def wait(self, seconds: float) -> list[Event]:
        """Collect progress and endings; submits anew what lost its node."""
        done, _ = self._ray.wait(list(self._tasks), timeout=seconds) if self._tasks else ([], [])
        events = []
        for task in self._tasks.values():
            events += [event for event in task.events() if event.status == "progress" and event.stage != "begin"]
        for reference in done:
            events.append(self._collect(reference, self._tasks.pop(reference)))
        return events

    def interrupt(self) -> None:
        """Ask every unit to stop; a pretraining writes its checkpoint first."""
        for reference, task in list(self._tasks.items()):
            ask_to_stop(task.folder)
            self._ray.cancel(reference, force=False, recursive=False)  # a task that waits for room never begins

    def close(self, grace: float = 10.0) -> None:
        """Ask every unit to stop, then leave the cluster; it ends what still runs."""
        self.interrupt()
        if self._tasks:
            self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=grace)
        self._tasks.clear()
        self._ray.shutdown()

    def _start(self, task: _Task) -> None:
        remote = self._ray.remote(max_retries=0, **self._needs)(_work)
        self._tasks[remote.remote(str(task.folder), self._timeout_s)] = task

    def _collect(self, reference: Any, task: _Task) -> Event:
        unit, errors = task.unit, self._ray.exceptions
        try:
            event = Event(**self._ray.get(reference))
        except errors.TaskCancelledError:
            return Event(unit.id, "interrupted", unit.kind, "stopped on request")
        except errors.OutOfMemoryError as error:
            event = Event(unit.id, "killed", unit.kind, f"Ray ended the task for lack of memory: {_line(error)}")
        except errors.RayTaskError as error:
            event = Event(unit.id, "crashed", unit.kind, _line(error), str(error)[-4000:])
        except errors.RayError as error:
            if task.lost < self._cfg.retries:
                self._start(replace(task, lost=task.lost + 1))
                return Event(unit.id, "progress", "queue", "its node was lost; submitted again")
            event = Event(unit.id, "crashed", unit.kind, f"its node was lost {task.lost + 1} times: {_line(error)}")
        if event.status == "ok":
            return event
        return replace(event, detail={**event.detail, "logs": [str(task.folder / LOG)]})


def _work(folder: str, timeout_s: float | None) -> dict[str, Any]:
    """Body of a task, on a node of the cluster."""
    import dataclasses

    return dataclasses.asdict(Job(Path(folder), timeout_s).wait())


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:500]


def _connect(address: str | None) -> Any:
    try:
        import ray
    except ImportError:
        raise UsageMistake("--executor ray needs Ray", "Install it: pip install 'ssl-skel[ray]'.") from None
    paths = [str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    own: dict[str, Any] = {"include_dashboard": False} if address is None and "RAY_ADDRESS" not in os.environ else {}
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True,
                 runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageMistake(f"the Ray cluster at {address or 'this machine'} does not answer: {_line(error)}") from None
    return ray
