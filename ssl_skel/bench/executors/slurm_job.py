"""What a Slurm job does: one unit in a process of its own, stopped in time to go on from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_skel.bench.job import Job


class SlurmTask:
    """Called by submitit inside the job."""

    def __init__(self) -> None:
        self._job: Job | None = None

    def __call__(self, folder: str, timeout_s: float | None) -> None:
        """Run the unit of a folder; its events lie there."""
        self._job = Job(Path(folder), timeout_s)
        self._job.wait()

    def checkpoint(self, folder: str, timeout_s: float | None) -> Any:
        """Stop the unit with a checkpoint; submitit calls this when the job is preempted or its time is nearly up.

        Returns:
            What the requeued job does.
        """
        from submitit.helpers import DelayedSubmission

        if self._job is not None:
            self._job.stop()
            self._job.wait()
        return DelayedSubmission(SlurmTask(), folder, timeout_s)
