"""Real processes: whatever a cell does to its process loses that cell only, and every signal ends in good order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop, environment, results
from ssl_skel import checkpoint
from ssl_skel.api import Event, Unit
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.status import status_of
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.worker import run_unit

MISDEEDS = {
    "raises": "raise ValueError('broken on purpose')",
    "exits": "os._exit(3)",
    "silent": "os._exit(0)",
    "leaves": "sys.exit(0)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "crashes": "import numpy; numpy.lib.stride_tricks.as_strided(numpy.zeros(1), (2,), (1 << 45,))[1]",
    "hangs": "time.sleep(600)",
    "freezes": "sum(range(10**13))",  # a loop in C that holds the lock of the interpreter
}
WORK = ("-p", "good", "-d", "tiny/xsub", "-e", "knn")


@pytest.fixture(scope="module")
def wreck(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, subprocess.CompletedProcess[str]]:
    """One run of a good cell among cells that misbehave in every way."""
    shop = Workshop(tmp_path_factory.mktemp("wreck"), ["good"])
    for name, line in MISDEEDS.items():
        shop.plugin(name, line)
    shop.plugin("diverges", config={"scale": 1e39})
    names = [part for name in (*MISDEEDS, "diverges", "good") for part in ("-p", name)]
    done = shop.bench_run(*names, "-d", "tiny/xsub", "-e", "knn", "--executor", "process", "--jobs", "3", "--json",
                          "--timeout", "0.005")
    return shop, done


def failures(shop: Workshop) -> dict[str, Any]:
    return {failure.cell["plugin"]: failure for failure in RecordStore(shop.out).failures()}


def test_every_misdeed_loses_its_own_cell_only(wreck: tuple[Workshop, subprocess.CompletedProcess[str]]) -> None:
    shop, done = wreck
    assert done.returncode == 1, done.stderr
    assert [record["cell"]["plugin"] for record in results(shop.out).values()] == ["good"]
    assert {name: failure.status for name, failure in failures(shop).items()} == {
        "raises": "error", "exits": "crashed", "silent": "crashed", "leaves": "crashed", "killed": "killed",
        "crashes": "killed", "hangs": "timeout", "freezes": "timeout", "diverges": "diverged"}
    status = status_of(shop.out)
    assert (status["planned"], status["done"], status["failed"], status["missing"]) == (10, 1, 9, 0)


@pytest.mark.parametrize(("plugin", "message", "traceback"), [
    ("raises", "ValueError: broken on purpose", "in after_step"),
    ("exits", "exit code 3", ""), ("silent", "exit code 0", ""), ("leaves", "sys.exit(0)", "in after_step"),
    ("killed", "ended by SIGKILL", ""), ("crashes", "ended by SIGSEGV", "in after_step"),
    ("hangs", "killed after 0.005 h (--timeout)", "in after_step"),
    ("freezes", "killed after 0.005 h (--timeout)", "in after_step"),
    ("diverges", "the loss is inf at step 1 of 6", ""),
])
def test_a_failure_says_what_happened_and_where(wreck: tuple[Workshop, subprocess.CompletedProcess[str]], plugin: str,
                                                message: str, traceback: str) -> None:
    failure = failures(wreck[0])[plugin]
    assert message in failure.message
    assert "\n" not in failure.message
    assert traceback in failure.traceback
    assert failure.stage == "pretrain"


def test_details_for_programs(wreck: tuple[Workshop, subprocess.CompletedProcess[str]]) -> None:
    found = failures(wreck[0])
    assert found["exits"].detail == {"exit_code": 3}
    assert found["killed"].detail == {"signal": "SIGKILL"}
    assert found["diverges"].detail["step"] == 1
    assert len(found["diverges"].detail["clips"]) == 9


def test_json_events_are_one_a_line_and_end_with_the_report(
        wreck: tuple[Workshop, subprocess.CompletedProcess[str]]) -> None:
    _, done = wreck
    events = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "report"
    assert (events[-1]["done"], events[-1]["failed"], events[-1]["skipped"]) == (1, 9, 9)
    assert "--rerun failed" in events[-1]["retry"]
    assert all(Path(path).is_file() for path in events[-1]["paths"])
    ended = [event for event in events if event["event"] == "end"]
    assert len(ended) == 11
    assert "Traceback" not in done.stderr


def test_nothing_of_the_run_is_left(wreck: tuple[Workshop, subprocess.CompletedProcess[str]]) -> None:
    shop, _ = wreck
    assert not processes_with(str(shop.root))
    assert not list(shop.out.rglob(".tmp-*"))


# -- signals ------------------------------------------------------------------------------------------------------


def processes_with(text: str) -> list[int]:
    """Living processes of ours whose command line or environment holds a text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if text.encode() in told and state not in "ZX":
                found.append(int(folder.name))
    return found


def until(true: Callable[[], Any], seconds: float = 90.0) -> float:
    """Wait for something; returns how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not happen"
        time.sleep(0.02)
    return time.monotonic() - began


def steps(journal: Path) -> list[tuple[int, int]]:
    """(process, step) of every step that was trained."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [(int(pid), int(step)) for pid, step in (line.split() for line in lines)]


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("good", train={"epochs": 20, "batch": 9, "frames": 4})
    return shop


@pytest.fixture
def undisturbed(shop: Workshop) -> dict[str, Any]:
    """Results of the same cells in a quiet run."""
    assert shop.run_here(shop.plan("good"), out=shop.root / "quiet") == 0
    return results(shop.root / "quiet")


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "number"), [("process", signal.SIGTERM), ("inline", signal.SIGINT)])
def test_a_signal_ends_the_run_with_a_checkpoint(shop: Workshop, undisturbed: dict[str, Any], tmp_path: Path,
                                                 executor: str, number: int,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "journal"
    with shop.start_run(*WORK, "--executor", executor, nap=0.05, journal=journal) as run:
        until(lambda: len(steps(journal)) > 4)
        run.send_signal(number)
        output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert "interrupted; the same command goes on from here" in output
    assert "Traceback" not in output
    until(lambda: not processes_with(str(shop.root)), 5)
    pretrain_id = shop.plan("good").pretrainings[0].id
    state = checkpoint.load(shop.out / "pretrain" / pretrain_id, pretrain_id)
    assert state is not None
    assert state["step"] == steps(journal)[-1][1] > 4
    assert not (shop.out / "failures").exists()
    assert not list((shop.out / "claims").iterdir())

    monkeypatch.setenv("TINY_JOURNAL", str(journal))
    assert shop.run_here(shop.plan("good")) == 0
    assert [step for _, step in steps(journal)] == list(range(1, 61))  # no step was repeated or left out
    assert results(shop.out) == undisturbed


@pytest.mark.slow
def test_a_signal_to_the_whole_group_is_no_failure_of_a_cell(shop: Workshop) -> None:
    """As `timeout`, a terminal or a scheduler sends it; the server that starts the processes dies of it at once."""
    command = shop.command("bench", "run", *shop.run_arguments, *WORK, "--executor", "process")
    for begun, later in (("to run, 0 records", 0.7), ("done  ", 0.0)):  # while the server imports, and at once
        with subprocess.Popen(command, env=environment() | {"TINY_NAP": "0.01"}, text=True, start_new_session=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
            assert run.stdout
            while begun not in (line := run.stdout.readline()):
                assert line, "it ended before it could be asked to"
            time.sleep(later)
            os.killpg(run.pid, signal.SIGTERM)
            output = run.communicate(timeout=60)[0]
        assert run.returncode == 130, output
        assert "interrupted; the same command goes on from here" in output
        assert not (shop.out / "failures").exists(), output


@pytest.mark.slow
def test_when_the_run_is_killed_its_children_end_and_the_next_one_completes_it(
        shop: Workshop, undisturbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "journal"
    with shop.start_run(*WORK, "--executor", "process", nap=0.05, journal=journal) as run:
        until(lambda: len(steps(journal)) > 4)
        run.kill()
    child = steps(journal)[0][0]
    assert child != run.pid
    assert until(lambda: not processes_with(str(shop.root)), 10) < 5
    assert not results(shop.out)

    assert shop.run_here(shop.plan("good")) == 0
    assert results(shop.out) == undisturbed
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in (shop.out / "records").rglob("*.json")}
    assert shop.run_here(shop.plan("good")) == 0
    assert "0 pretrainings and 0 evaluations to run, 1 records kept" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (shop.out / "records").rglob("*.json")}


# -- inline, and the worker ---------------------------------------------------------------------------------------


def unit_of(shop: Workshop, plugin: str) -> Unit:
    cell = shop.plan(plugin).pretrainings[0]
    RecordStore(shop.out).create()
    return Unit(cell.id, "pretrain", cell.model_dump(mode="json"),
                RunOptions(shop.out, shop.root / "data", (str(shop.root),), device="cpu").for_units("custom"))


@pytest.mark.parametrize(("line", "status", "message"), [
    ("raise ValueError('one\\ntwo')", "error", "ValueError: one"),
    ("sys.exit(0)", "crashed", "sys.exit(0)"),
    ("raise MemoryError", "error", "out of memory on the host. Run fewer cells at once"),
    ("raise torch.cuda.OutOfMemoryError('CUDA out of memory.')", "error", "out of memory on the device. Run fewer"),
    ("raise SkelError('not with these clips', 'Use others.')", "refused", "not with these clips. Use others."),
    ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "error", "Odd"),
])
def test_the_worker_turns_whatever_happens_into_one_event(shop: Workshop, line: str, status: str, message: str) -> None:
    shop.plugin("bad", line)
    event = run_unit(unit_of(shop, "bad"), lambda event: None, threading.Event())
    assert (event.status, event.stage) == (status, "pretrain")
    assert message in event.message
    assert "\n" not in event.message


def test_code_that_changed_after_planning_is_refused(shop: Workshop) -> None:
    unit = unit_of(shop, "good")
    (shop.root / "plugins" / "good" / "more.py").write_text("x = 1")
    event = run_unit(unit, lambda event: None, threading.Event())
    assert event.status == "refused"
    assert "has changed since the run was planned. Run the command again." in event.message


def test_a_stopped_inline_pretraining_has_its_checkpoint(shop: Workshop) -> None:
    executor = InlineExecutor()
    unit = unit_of(shop, "good")
    executor.submit(unit)
    executor.interrupt()
    assert executor.wait(0) == []  # what had not begun is forgotten
    executor.submit(unit)
    assert [event.status for event in executor.wait(0)] == ["interrupted"]
    state = checkpoint.load(shop.out / "pretrain" / unit.id, unit.id)
    assert state is not None
    assert state["step"] == 1


def test_a_process_that_can_not_be_started_is_a_lost_cell(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_skel.bench.executors.process import ProcessExecutor

    executor = ProcessExecutor()
    unit = unit_of(shop, "good")

    class Refused:
        def Pipe(self) -> Any:
            import multiprocessing

            return multiprocessing.Pipe()

        def Process(self, **_: Any) -> Any:
            return self

        def start(self) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(executor, "_context", Refused())
    executor.submit(unit)
    events: list[Event] = executor.wait(0)
    assert [(event.id, event.status) for event in events] == [(unit.id, "crashed")]
    assert "Resource temporarily unavailable" in events[0].message
    executor.close()


assert sys.platform.startswith("linux"), "these tests read /proc"
