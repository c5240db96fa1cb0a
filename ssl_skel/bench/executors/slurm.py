"""Units as jobs of a Slurm cluster, submitted by submitit as job arrays.

The output folder must be one that all nodes see. States come from ``squeue`` and from the events that each job writes
there (`ssl_skel.bench.job`), never from ``sacct``: a cluster need not have an accounting database. A preempted job, one
whose node failed and one whose time is up go on from the checkpoint, by themselves where Slurm requeues them.
"""

from __future__ import annotations

import getpass
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ssl_skel.api import Event, Unit
from ssl_skel.bench.endings import log_tail
from ssl_skel.bench.executors.slurm_job import SlurmTask
from ssl_skel.bench.job import EVENTS, LOG, prepare
from ssl_skel.bench.mailbox import EventReader
from ssl_skel.errors import UsageMistake
from ssl_skel.fsio import make_folder
from ssl_skel.schema import Model

OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
        "REVOKED", "TIMEOUT", ""}
"""States of a job that does not come back; "" is a job that the queue has forgotten."""
LOST = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "TIMEOUT"}
"""Those that are no fault of the cell."""
_SLOTS = 200
_GRACE_S = 30.0


class SlurmConfig(Model):
    """Keys of ``--executor-set``.

    Attributes:
        partition: Of the jobs; None lets Slurm choose.
        account: That is billed.
        qos: Quality of service.
        constraint: Features that a node must have.
        time_min: Minutes a job may run; a pretraining that needs longer goes on in the next.
        memory_gb: Of each cell.
        cpus: Of each process of a cell; also its threads, unless ``--threads`` says otherwise.
        gpus: Of each cell; by default one a process where the device is CUDA, else none.
        requeues: How often a cell is submitted again after it was preempted, lost its node or ran out of time.
        patience_min: Minutes for which a submission is tried again when Slurm's controller does not answer.
        signal_s: Seconds before the end of its time at which a job is told to write its checkpoint.
        poll_s: Seconds between two looks at the queue.
        setup: Shell lines to run first, such as ``module load``.
        extra: Further options of ``sbatch``, as key and value.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time_min: int = Field(24 * 60, ge=1)
    memory_gb: float | None = Field(None, gt=0)
    cpus: int = Field(4, ge=1)
    gpus: int | None = Field(None, ge=0)
    requeues: int = Field(3, ge=0)
    patience_min: float = Field(30.0, ge=0)
    signal_s: int = Field(90, ge=1)
    poll_s: float = Field(5.0, gt=0)
    setup: tuple[str, ...] = ()
    extra: dict[str, str | int] = Field({})


@dataclass
class _Running:
    unit: Unit
    job: str
    log: Path
    own_log: Path
    events: EventReader
    tries: int
    ending: Event | None = None
    missed: float | None = None
    told: str = ""


class SlurmExecutor:
    """Runs every unit as a job, those that are submitted together as one array.

    Args:
        jobs: Jobs in the queue at once.
        timeout_h: Hours of work after which a unit is killed, its stacks written to its log.
        device: Of the run; ``auto`` is decided where the cell runs, but asks for GPUs only if this machine has one.
        processes: Of each unit.
        threads: CPU threads of each process.
        cfg: Keys of ``--executor-set``.

    Raises:
        UsageMistake: If submitit is not installed, this machine has no Slurm, or Slurm does not answer.
    """

    Config: ClassVar[type[Model]] = SlurmConfig
    remote: ClassVar[bool] = True

    def __init__(self, jobs: int | None = None, timeout_h: float | None = None, device: str = "cpu",
                 processes: int = 1, threads: int | None = None, cfg: SlurmConfig | None = None) -> None:
        self.slots = jobs or _SLOTS
        self._cfg, self._processes, self._threads = cfg or SlurmConfig(), processes, threads
        self._timeout_s = timeout_h * 3600 if timeout_h else None
        gpus = self._cfg.gpus
        self._gpus = gpus if gpus is not None else processes if device.startswith("cuda") or _has_gpu(device) else 0
        self._queue: list[Unit] = []
        self._running: dict[str, _Running] = {}
        self._asked = float("-inf")
        self._refused: float | None = None  # since when it takes no jobs
        self._answers = False  # whether it did after the refusal before
        self._stopping = False
        _submitit()
        if queue_states() is None:
            raise UsageMistake("--executor slurm: Slurm does not answer (squeue failed)",
                               "Look whether its controller runs: squeue, sinfo.")

    def submit(self, unit: Unit) -> None:
        """Note a unit for the array that the next `wait` submits."""
        self._queue.append(replace(unit, options={**unit.options, "threads": self._threads or self._cfg.cpus}))

    def wait(self, seconds: float) -> list[Event]:
        """Submit what is noted, then collect what jobs have written and what the queue says."""
        events = self._flush()
        if not events and (self._running or self._queue):
            time.sleep(min(seconds, self._cfg.poll_s))
        for one in list(self._running.values()):
            events += self._read(one)
        if time.monotonic() - self._asked >= self._cfg.poll_s and self._running:
            self._asked = time.monotonic()
            if (states := queue_states()) is not None:
                for one in list(self._running.values()):
                    events += self._judge(one, states.get(one.job, ""))
        return events

    def interrupt(self) -> None:
        """Cancel all jobs; a pretraining that runs writes its checkpoint first."""
        self._stopping = True
        self._queue.clear()
        if self._running:
            _cancel([one.job for one in self._running.values()])

    def close(self, grace: float = 10.0) -> None:
        """Cancel what is left; Slurm waits and kills by its own settings."""
        self.interrupt()
        self._running.clear()

    def _flush(self) -> list[Event]:
        """Submit the noted units as one array."""
        if not self._queue or (self._refused is not None and time.monotonic() - self._asked < self._cfg.poll_s):
            return []
        units, self._queue = self._queue, []
        out = Path(str(units[0].options["out"]))
        folder = make_folder(out, "jobs", "slurm")
        places = [prepare(unit) for unit in units]
        readers = [EventReader(place / EVENTS, new=True) for place in places]
        try:
            jobs = self._make(folder).map_array(SlurmTask(), [str(p) for p in places], [self._timeout_s] * len(places))
        except (_submitit().core.utils.FailedJobError, OSError) as error:
            return self._not_taken(units, (str(error).strip().splitlines() or ["no reason given"])[-1])
        for unit, place, reader, job in zip(units, places, readers, jobs, strict=True):
            tries = self._running[unit.id].tries + 1 if unit.id in self._running else 1
            self._running[unit.id] = _Running(unit, job.job_id, Path(job.paths.stdout), place / LOG, reader, tries)
        self._asked, self._refused, self._answers = time.monotonic(), None, False
        return []

    def _not_taken(self, units: list[Unit], reason: str) -> list[Event]:
        """Units that Slurm took no job for: kept while it is silent, failures once it refused them and then answered.

        A silent controller may be back by the time that the submission has failed, so one refusal is not believed.
        """
        now, first, answered = time.monotonic(), self._refused is None, self._answers
        self._asked, self._answers = now, queue_states() is not None
        self._refused = now if self._refused is None else self._refused
        final = (answered and self._answers) or now - self._refused >= 60 * self._cfg.patience_min
        status, stage = "crashed", ""
        if final or self._stopping:
            self._refused, self._answers = None, False
        else:
            self._queue = units + self._queue
            if not first:
                return []
            status, stage = "progress", "queue"
            reason = f"{reason}; trying again, for {self._cfg.patience_min:g} minutes at most"
        return [Event(unit.id, status, stage or unit.kind, f"Slurm took no job: {reason}") for unit in units]

    def _make(self, folder: Path) -> Any:
        cfg = self._cfg
        executor = _submitit().SlurmExecutor(folder=str(folder / "%j"), max_num_timeout=cfg.requeues)
        given = {"partition": cfg.partition, "account": cfg.account, "qos": cfg.qos, "constraint": cfg.constraint,
                 "mem": f"{cfg.memory_gb:g}GB" if cfg.memory_gb else None, "gpus_per_node": self._gpus or None,
                 "setup": list(cfg.setup) or None}
        cpus = cfg.cpus * self._processes
        executor.update_parameters(
            job_name="ssl-skel", time=cfg.time_min, cpus_per_task=cpus, signal_delay_s=cfg.signal_s,
            array_parallelism=self.slots, stderr_to_stdout=True, srun_args=["--cpus-per-task", str(cpus)],
            additional_parameters={"requeue": True, **cfg.extra}, **{k: v for k, v in given.items() if v is not None})
        return executor

    def _read(self, one: _Running) -> list[Event]:
        """New events of a job; what ended it for certain is passed on at once."""
        events = []
        for event in one.events():
            if event.status != "progress":
                one.ending = event
            elif event.stage == "begin":
                one.ending = None  # requeued: what the former try said no longer counts
            else:
                events.append(event)
        if one.ending is not None and one.ending.status not in ("interrupted", "killed"):
            events.append(self._end(one, one.ending))
        return events

    def _judge(self, one: _Running, state: str) -> list[Event]:
        """What the state of a job in the queue means for its unit."""
        if one.unit.id not in self._running:
            return []
        if state not in OVER:
            one.missed = None
            if state != one.told and state in ("PENDING", "RUNNING"):
                one.told = state
                return [Event(one.unit.id, "progress", "queue", f"Slurm job {one.job} is {state.lower()}")]
            return []
        one.missed = one.missed or time.monotonic()
        if one.ending is None and state not in LOST and time.monotonic() - one.missed < _GRACE_S:
            return []  # what it wrote may take a while to be seen here
        if state in LOST and not self._stopping and one.tries <= self._cfg.requeues:
            self._queue.append(one.unit)
            return [Event(one.unit.id, "progress", "queue", f"Slurm job {one.job} ended as {state}; submitted again")]
        return [self._end(one, self._lost(one, state))]

    def _lost(self, one: _Running, state: str) -> Event:
        """The ending of a unit whose job is over without one that counts."""
        if self._stopping and one.ending is not None:
            return one.ending
        status = {"CANCELLED": "killed", "OUT_OF_MEMORY": "killed", "TIMEOUT": "timeout", "PREEMPTED": "killed"}
        if state in status:
            return Event(one.unit.id, status[state], one.unit.kind, f"Slurm ended the job: {state}")
        if one.ending is not None:
            return one.ending
        return Event(one.unit.id, "crashed", one.unit.kind, f"the job ended as {state or 'unknown'} without a result")

    def _end(self, one: _Running, event: Event) -> Event:
        """Forget a job and say where its logs are."""
        del self._running[one.unit.id]
        if event.status == "ok":
            return event
        return replace(event, message=f"{event.message} (Slurm job {one.job}, log {one.log})",
                       traceback=event.traceback or log_tail(one.log),
                       detail={**event.detail, "job": one.job, "logs": [str(one.log), str(one.own_log)]})


def queue_states() -> dict[str, str] | None:
    """States of this user's jobs that the queue still knows, by id; None if the queue does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", "--user", getpass.getuser()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {job: state for job, _, state in (line.strip().partition(" ") for line in done.stdout.splitlines())}


def _cancel(jobs: list[str]) -> None:
    """Ask Slurm to end jobs; returns at once."""
    subprocess.Popen(["scancel", *jobs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _has_gpu(device: str) -> bool:
    import torch

    return device == "auto" and torch.cuda.is_available()


def _submitit() -> Any:
    import shutil

    try:
        import submitit
    except ImportError:
        raise UsageMistake("--executor slurm needs submitit", "Install it: pip install 'ssl-skel[slurm]'.") from None
    missing = [name for name in ("sbatch", "squeue", "srun") if shutil.which(name) is None]
    if missing:
        raise UsageMistake(f"--executor slurm: this machine has no {missing[0]}", "Run it where jobs are submitted.")
    return submitit
