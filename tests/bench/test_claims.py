"""Claims: of two runs on one folder only one works on a cell, and the dead hold nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers.tiny import Workshop, environment, results
from ssl_skel.api import Event, Unit
from ssl_skel.bench import claims
from ssl_skel.bench.claims import claimed
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.worker import run_unit
from ssl_skel.errors import OutputError

CELL = "0123456789abcdef"

HOLDER = """
import sys, time
from pathlib import Path
from ssl_skel.bench.claims import claimed
with claimed(Path(sys.argv[1]), sys.argv[2], lambda line: None):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""

WORKER = """
import sys, time
from pathlib import Path
from ssl_skel.bench import claims
claims.POLL_S = 0.01
out, rounds = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(rounds):
    with claims.claimed(out, "0123456789abcdef", lambda line: None):
        (out / "busy").touch(exist_ok=False)   # fails where two are at work
        count = int((out / "count").read_text())
        time.sleep(0.002)
        (out / "count").write_text(str(count + 1))
        (out / "busy").unlink()
"""


def never(line: str) -> None:
    pytest.fail(line)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                            env=environment())


def test_a_claim_is_made_and_released(tmp_path: Path) -> None:
    with claimed(tmp_path, CELL, never) as waited:
        assert not waited
        held = list((tmp_path / "claims").iterdir())
        assert [path.name.split(".")[0] for path in held] == [CELL]
        assert f".{os.getpid()}." in held[0].name
        with claimed(tmp_path, "f" * 16, never):  # another cell is free
            pass
    assert not list((tmp_path / "claims").iterdir())


def test_a_claim_is_released_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, CELL, never):
        raise ZeroDivisionError
    assert not list((tmp_path / "claims").iterdir())


def test_the_second_waits_until_the_first_is_done(tmp_path: Path) -> None:
    lines: list[str] = []
    with start(HOLDER, tmp_path, CELL, 1.0) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with claimed(tmp_path, CELL, lines.append) as waited:
            assert waited
            assert holder.wait(5) == 0
    assert lines[0] == f"waits for process {holder.pid}, which works on this cell"


def test_waiting_can_be_given_up(tmp_path: Path) -> None:
    def enough(line: str) -> None:
        raise TimeoutError

    with start(HOLDER, tmp_path, CELL, 60) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TimeoutError), claimed(tmp_path, CELL, enough):
            pass
        assert len(list((tmp_path / "claims").iterdir())) == 1
        holder.kill()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with start(HOLDER, tmp_path, CELL, 60) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    assert len(list((tmp_path / "claims").iterdir())) == 1
    with claimed(tmp_path, CELL, never) as waited:
        assert not waited
        assert len(list((tmp_path / "claims").iterdir())) == 1


def test_another_process_with_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / f"{CELL}.{claims.host_mark()}.1.12345").touch()  # process 1 lives, but began at another time
    with claimed(tmp_path, CELL, never) as waited:
        assert not waited


@pytest.mark.parametrize("age", [0.0, 30.0, 61.0, 10_000.0])
def test_a_holder_on_another_host_lives_while_its_claim_is_touched(tmp_path: Path, age: float,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLL_S", 0.01)
    monkeypatch.setattr(claims, "WATCH_S", 0.05)
    (tmp_path / "claims").mkdir()
    other = tmp_path / "claims" / f"{CELL}.{'a' * 12}.99.1"
    other.touch()
    now = other.stat().st_mtime
    os.utime(other, (now - age, now - age))
    lines: list[str] = []

    def waiting(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            other.unlink()

    with claimed(tmp_path, CELL, waiting) as waited:
        assert waited == (age < 60)
    assert bool(lines) == (age < 60)


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9])
@pytest.mark.parametrize("beats", [True, False])
def test_a_clock_that_jumps_neither_kills_a_holder_nor_revives_one(tmp_path: Path, jump: float, beats: bool,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of another host was touched by a clock that differs from that of the file system by `jump`."""
    monkeypatch.setattr(claims, "POLL_S", 0.01)
    monkeypatch.setattr(claims, "WATCH_S", 0.5)
    (tmp_path / "claims").mkdir()
    other = tmp_path / "claims" / f"{CELL}.{'a' * 12}.99.1"
    other.touch()
    os.utime(other, (time.time() + jump,) * 2)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.02):
            os.utime(other, (time.time() + jump,) * 2)

    def waiting(line: str) -> None:
        ended.set()
        beating.join()
        other.unlink(missing_ok=True)

    beating = threading.Thread(target=beat)
    if beats:
        beating.start()
    with claimed(tmp_path, CELL, waiting) as waited:
        assert waited == beats
        assert [path.name.split(".")[2] for path in (tmp_path / "claims").iterdir()] == [str(os.getpid())]


def test_junk_in_the_folder_is_no_claim(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    for name in (CELL, f"{CELL}.x", f"{CELL}.{claims.host_mark()}.nobody.1", f"{CELL}.{claims.host_mark()}.{2**40}.1"):
        (tmp_path / "claims" / name).touch()
    with claimed(tmp_path, CELL, never) as waited:
        assert not waited


def test_a_held_claim_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_S", 0.02)
    with claimed(tmp_path, CELL, never):
        claim = next((tmp_path / "claims").iterdir())
        os.utime(claim, (1.0, 1.0))
        until = time.monotonic() + 10
        while claim.stat().st_mtime == 1.0:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_claim_that_was_taken_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_S", 0.02)
    taken_away = threading.Event()
    with claimed(tmp_path, CELL, never, taken_away.set):
        next((tmp_path / "claims").iterdir()).unlink()
        assert taken_away.wait(10)
    quiet = threading.Event()
    with claimed(tmp_path, CELL, never, quiet.set):
        time.sleep(0.1)
    assert not quiet.is_set()


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder is gone"), claimed(tmp_path / "gone", CELL, never):
        pass


def test_several_processes_never_work_at_once(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    workers = [start(WORKER, tmp_path, 25) for _ in range(4)]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.close()
    assert (tmp_path / "count").read_text() == "100"
    assert not list((tmp_path / "claims").iterdir())


# -- in a run -----------------------------------------------------------------------------------------------------


def units_of(shop: Workshop, again: bool = False) -> list[Unit]:
    plan = shop.plan()
    RecordStore(shop.out).create()
    told = RunOptions(shop.out, shop.root / "data", (str(shop.root),), device="cpu").for_units("custom")
    options = {**told, "again": again}
    return [*(Unit(c.id, "pretrain", c.model_dump(mode="json"), options) for c in plan.pretrainings),
            *(Unit(c.id, "evaluate", c.model_dump(mode="json"), options) for c in plan.evaluations)]


def test_a_cell_that_another_run_finished_meanwhile_is_not_repeated(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    units = units_of(shop)
    for unit in units:
        assert run_unit(unit, lambda event: None, threading.Event()).status == "ok"
    before = {path: path.stat().st_mtime_ns for path in shop.out.rglob("*") if path.is_file()}
    for unit in units:
        assert run_unit(unit, lambda event: None, threading.Event()).status == "ok"
    assert {path: path.stat().st_mtime_ns for path in shop.out.rglob("*") if path.is_file()} == before
    first = results(shop.out)
    for unit in units_of(shop, again=True):
        assert run_unit(unit, lambda event: None, threading.Event()).status == "ok"
    assert results(shop.out) == first
    assert not set(before.items()) <= {(p, p.stat().st_mtime_ns) for p in shop.out.rglob("*") if p.is_file()}


def test_a_run_that_waits_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    unit = units_of(shop)[0]
    events: list[Event] = []
    stop = threading.Event()

    def report(event: Event) -> None:
        events.append(event)
        stop.set()

    with start(HOLDER, shop.out, unit.id, 60) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert run_unit(unit, report, stop).status == "interrupted"
        holder.kill()
    assert (events[0].status, events[0].stage) == ("progress", "wait")
    assert str(holder.pid) in events[0].message


@pytest.mark.slow
def test_two_runs_on_one_folder_share_the_work(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    journal = tmp_path / "journal"
    work = ("-p", "tiny", "-d", "tiny/xsub", "-e", "knn", *(part for seed in "0123" for part in ("-s", seed)),
            "--executor", "inline", "--json")
    runs = [shop.start_run(*work, nap=0.5, journal=journal) for _ in range(2)]
    for run in runs:
        output, _ = run.communicate(timeout=240)
        assert run.returncode == 0, output
    steps = journal.read_text().splitlines()
    assert len(steps) == 4 * 6  # every step of every seed once, by whichever run
    assert {line.split()[0] for line in steps} == {str(run.pid) for run in runs}  # and both did some
    assert len(results(shop.out)) == 4
    assert not list((shop.out / "claims").iterdir())
    quiet = Workshop(tmp_path / "quiet")
    assert quiet.run_here(quiet.plan(seeds=[0, 1, 2, 3])) == 0
    assert results(quiet.out) == results(shop.out)
