"""What the state of a Slurm job means for its cell; tests/test_campaign_cluster.py asks a real Slurm."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ssl_skel.api import Event, Unit
from ssl_skel.bench.executors import slurm
from ssl_skel.bench.executors.slurm import SlurmConfig, SlurmExecutor, _Running
from ssl_skel.bench.job import EVENTS, prepare
from ssl_skel.bench.mailbox import EventReader, EventWriter
from ssl_skel.errors import UsageMistake

ID = "0" * 16


class Rig:
    """An executor with one job that was submitted, and the file that the job writes."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> None:
        monkeypatch.setattr(slurm, "_submitit", lambda: None)
        monkeypatch.setattr(slurm, "_cancel", lambda jobs: self.cancelled.extend(jobs))
        monkeypatch.setattr(slurm, "_GRACE_S", 0.05)
        monkeypatch.setattr(slurm, "queue_states", lambda: {} if self.answers else None)
        self.answers = True
        self.cancelled: list[str] = []
        self.executor = SlurmExecutor(cfg=SlurmConfig(**keys))
        self.unit = Unit(ID, "pretrain", {}, {"out": str(root)})
        folder = prepare(self.unit)
        log = root / "12_0.out"
        log.write_text("the end of the log")
        self.job = _Running(self.unit, "12_0", log, folder / "log", EventReader(folder / EVENTS), 1)
        self.executor._running[ID] = self.job
        self.write = EventWriter(folder / EVENTS)

    def say(self, *statuses: str) -> None:
        for status in statuses:
            self.write(Event(ID, *(("progress", status) if status in ("begin", "pretrain") else (status, "pretrain"))))

    def look(self, state: str) -> list[str]:
        """Statuses (or stages of progress) that follow from what the job wrote and a state in the queue."""
        events = self.executor._read(self.job) + self.executor._judge(self.job, state)
        return [event.stage if event.status == "progress" else event.status for event in events]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(tmp_path, monkeypatch)


@pytest.mark.parametrize("status", ["ok", "error", "diverged", "refused", "timeout", "crashed"])
def test_an_ending_counts_at_once_whatever_the_queue_says(rig: Rig, status: str) -> None:
    rig.say("begin", "pretrain", status)
    assert rig.look("RUNNING") == ["pretrain", status]
    assert not rig.executor._running


def test_a_requeued_job_begins_anew(rig: Rig) -> None:
    rig.say("begin", "interrupted")
    assert rig.look("PENDING") == ["queue"]
    rig.say("begin", "ok")
    assert rig.look("COMPLETED") == ["ok"]


@pytest.mark.parametrize(("state", "status"), [
    ("CANCELLED", "killed"), ("OUT_OF_MEMORY", "killed"), ("FAILED", "interrupted"), ("COMPLETED", "interrupted")])
def test_a_job_that_is_over_is_a_failure_with_its_logs(rig: Rig, state: str, status: str) -> None:
    rig.say("begin", "interrupted")
    event = (rig.executor._read(rig.job) + rig.executor._judge(rig.job, state))[-1]
    assert event.status == status
    assert f"Slurm job 12_0, log {rig.job.log}" in event.message
    assert event.traceback == "the end of the log"
    assert event.detail["logs"] == [str(rig.job.log), str(rig.job.own_log)]


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "TIMEOUT", "BOOT_FAIL"])
def test_a_job_that_was_lost_is_submitted_again_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         state: str) -> None:
    rig = Rig(tmp_path, monkeypatch, requeues=1)
    assert rig.look(state) == ["queue"]
    assert rig.executor._queue == [rig.unit]
    rig.job.tries = 2
    assert rig.look(state) == ["timeout" if state == "TIMEOUT" else "killed" if state == "PREEMPTED" else "crashed"]


def test_a_job_that_the_queue_forgot_has_a_moment_for_its_files(rig: Rig) -> None:
    assert rig.look("") == []
    time.sleep(0.1)
    assert rig.look("") == ["crashed"]


def test_when_asked_to_stop_jobs_are_cancelled_and_not_submitted_again(rig: Rig) -> None:
    rig.executor.interrupt()
    assert rig.cancelled == ["12_0"]
    rig.say("begin", "interrupted")
    assert rig.look("PREEMPTED") == ["interrupted"]


def test_without_slurm_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageMistake, match="this machine has no sbatch"):
        SlurmExecutor()


def test_a_slurm_that_does_not_answer_is_refused_before_anything_runs(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "squeue", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "_submitit", lambda: None)
    with pytest.raises(UsageMistake, match="Slurm does not answer"):
        SlurmExecutor()


class Sbatch:
    """An sbatch that fails a few times before it takes a job."""

    def __init__(self, failures: int) -> None:
        self.failures, self.tries = failures, 0

    def map_array(self, task: Any, *columns: list[Any]) -> list[Any]:
        self.tries += 1
        if self.tries <= self.failures:
            raise OSError("sbatch: error: Unable to contact slurm controller")
        return [SimpleNamespace(job_id="13_0", paths=SimpleNamespace(stdout="log"))] * len(columns[0])


def submissions(rig: Rig, monkeypatch: pytest.MonkeyPatch, failures: int, looks: int) -> list[tuple[str, str]]:
    """Status and message of what `looks` calls of `wait` give, the first `failures` of them without an sbatch."""
    sbatch = Sbatch(failures)
    submitit = SimpleNamespace(core=SimpleNamespace(utils=SimpleNamespace(FailedJobError=KeyError)))
    monkeypatch.setattr(slurm, "_submitit", lambda: submitit)
    monkeypatch.setattr(rig.executor, "_make", lambda folder: sbatch)
    rig.executor._running.clear()
    rig.executor.submit(rig.unit)
    events = []
    for _ in range(looks):
        events += rig.executor.wait(0.02)
        time.sleep(0.02)
    return [(event.status, event.message) for event in events]


def test_a_controller_that_falls_silent_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, monkeypatch, poll_s=0.01)
    rig.answers = False
    ((status, message),) = submissions(rig, monkeypatch, failures=2, looks=3)
    assert status == "progress"
    assert "Unable to contact" in message
    assert "trying again, for 30 minutes" in message
    assert rig.executor._running[ID].job == "13_0"


def test_it_is_not_waited_for_longer_than_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, monkeypatch, poll_s=0.01, patience_min=0.05 / 60)
    rig.answers = False
    events = submissions(rig, monkeypatch, failures=99, looks=6)
    assert [status for status, _ in events] == ["progress", "crashed"]
    assert not rig.executor._queue


def test_a_controller_that_answers_and_takes_no_job_twice_means_it(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, monkeypatch, poll_s=0.01)
    events = submissions(rig, monkeypatch, failures=2, looks=2)
    assert [status for status, _ in events] == ["progress", "crashed"]


def test_a_controller_that_is_back_once_the_submission_failed_is_asked_again(tmp_path: Path,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, monkeypatch, poll_s=0.01)
    answers = iter([False, True])
    monkeypatch.setattr(slurm, "queue_states", lambda: {} if next(answers, True) else None)
    assert [status for status, _ in submissions(rig, monkeypatch, failures=2, looks=3)] == ["progress"]
    assert rig.executor._running[ID].job == "13_0"
