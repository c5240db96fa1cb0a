"""What runs the work, and what shows it: units, the events that tell of them, executors and loggers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["Event", "Executor", "Logger", "Unit"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work that an executor runs: a pretraining, or one evaluation.

    Attributes:
        id: Of the cell.
        kind: ``pretrain`` or ``evaluate``.
        cell: The cell as plain JSON data.
        options: The run's options as plain JSON data (folders, device, threads).
    """

    id: str
    kind: Literal["pretrain", "evaluate"]
    cell: Mapping[str, Any]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """What an executor reports of a unit.

    Attributes:
        id: Of the unit.
        status: ``progress``, ``ok``, or how it failed (see `ssl_skel.bench.record.Failure`).
        stage: ``wait`` (another run works on the cell), ``pretrain``, ``extract`` or ``evaluate``.
        message: One line.
        traceback: Tail, for an unexpected error.
        detail: Numbers: step, total, loss, samples per second; exit code; step and clips of a divergence.
    """

    id: str
    status: str
    stage: str = ""
    message: str = ""
    traceback: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class Logger(Protocol):
    """Shows the curves of one pretraining elsewhere. One that raises is left out; the run goes on.

    Made as ``Logger(folder, about, step)`` when the training starts or resumes: its own `folder`, what is trained as
    plain data, and the step of the checkpoint that is resumed (0 for a fresh start), after which steps come again.
    """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step: ``loss``, ``lr``, ``epoch`` and what else the task returns."""

    def close(self) -> None:
        """Write what is pending; nothing comes after."""


class Executor(Protocol):
    """Runs units somewhere: this process, child processes, a cluster. The grid submits and listens.

    The class is called with the keyword arguments ``jobs``, ``timeout_h``, ``device``, ``processes``, ``threads``, and
    with ``cfg`` if it has a pydantic model ``Config`` of keys (``--executor-set``). See docs/executors.md.

    Attributes:
        slots: How many units run at once.
    """

    slots: int

    def submit(self, unit: Unit) -> None:
        """Start a unit; returns at once, except for an executor that works in this process."""

    def wait(self, seconds: float) -> list[Event]:
        """Return what happened, after at most `seconds`; every submitted unit ends in one final event."""

    def interrupt(self) -> None:
        """Ask what runs to stop, a pretraining with a checkpoint; called from a signal handler, returns at once."""

    def close(self, grace: float = 10.0) -> None:
        """Stop what still runs: ask, wait `grace` seconds, kill."""
