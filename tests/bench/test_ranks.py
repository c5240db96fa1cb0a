"""One cell in several processes: the same cell to rounding, and a process that dies is told by name."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny import REPO, Workshop, results
from ssl_skel.api import Event, Unit
from ssl_skel.bench import ranks
from ssl_skel.bench.cards import read_card
from ssl_skel.bench.mailbox import EventWriter
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.worker import run_unit
from ssl_skel.curves import read_curves

TRAIN = {"epochs": 2, "batch": 8, "frames": 4, "optimizer": "momentum"}
STILL = ("backbone.dropout=0",)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    shop = Workshop(tmp_path_factory.mktemp("ranks"), ["base"])
    shop.plugin("good", train=TRAIN)
    return shop


@pytest.fixture(autouse=True)
def _children_find_the_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPO), str(REPO / "tests")]))
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")


def units_of(shop: Workshop, out: Path, processes: int, *, settings: tuple[str, ...] = STILL,
             names: tuple[str, ...] = ("good",)) -> list[Unit]:
    plan = shop.plan(*names, settings=settings, processes=processes)
    RecordStore(out).create()
    options = RunOptions(out, shop.root / "data", (str(shop.root),), device="cpu", threads=1, processes=processes,
                         checkpoint_s=0.01).for_units("custom")
    return [*(Unit(c.id, "pretrain", c.model_dump(mode="json"), options) for c in plan.pretrainings),
            *(Unit(c.id, "evaluate", c.model_dump(mode="json"), options) for c in plan.evaluations)]


def run(units: list[Unit], report: Callable[[Event], None] = lambda event: None) -> list[Event]:
    return [run_unit(unit, report, threading.Event()) for unit in units]


def test_two_processes_make_the_cell_that_one_makes(shop: Workshop) -> None:
    one, two = shop.root / "one", shop.root / "two"
    progress: list[Event] = []
    assert [event.status for event in run(units_of(shop, one, 1))] == ["ok", "ok"]
    pretrain, evaluate = units_of(shop, two, 2)
    assert [event.status for event in run([pretrain, evaluate], progress.append)] == ["ok", "ok"]
    assert progress[-1].stage == "evaluate"
    assert any(event.detail.get("step") == 6 for event in progress)
    assert read_card(two / "pretrain" / pretrain.id).world_size == 2
    assert not list((two / "jobs").iterdir())

    (alone,), (together,) = results(one).values(), results(two).values()
    assert (alone.pop("world_size"), together.pop("world_size")) == (1, 2)
    alone["digests"].pop("encoder"), together["digests"].pop("encoder")
    assert alone == together  # ids and all

    first, second = (load_file(out / "pretrain" / pretrain.id / "encoders.safetensors") for out in (one, two))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-4, atol=1e-6)
    for out in (one, two):
        assert sorted(len(load_file(f)["encoder"]) for f in (out / "features" / pretrain.id).iterdir()) == [9, 27]
    lines = [read_curves(out / "pretrain" / pretrain.id / "curves.jsonl") for out in (one, two)]
    for a, b in zip(*lines, strict=True):
        assert a["step"] == b["step"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


def test_processes_are_in_the_id_only_where_they_draw(shop: Workshop) -> None:
    quiet = [shop.plan("good", settings=STILL, processes=n).pretrainings[0] for n in (1, 2, 4)]
    assert len({cell.id for cell in quiet}) == 1
    drawing = [shop.plan("good", processes=n).pretrainings[0] for n in (1, 2, 4)]
    assert len({cell.id for cell in drawing}) == 3
    assert [cell.world_size for cell in drawing] == [0, 2, 4]
    assert "world_size" not in drawing[0].model_dump(mode="json")


def test_a_batch_that_can_not_be_dealt_is_refused(shop: Workshop) -> None:
    refused = shop.plan("good", processes=3).refused
    assert [refusal.reason for refusal in refused] == [
        "a batch of 8 can't be dealt to 3 processes equally. Choose another --gpus-per-cell, or set train.batch."]
    micro = shop.plan("good", processes=2, settings=("train.accumulate=8",)).refused
    assert "to 8 micro-batches in 2 processes" in micro[0].reason
    assert not shop.plan("base", settings=("train.epochs=0",), processes=2).refused


def ending(tmp_path: Path, code: int, failed: dict[int, int], endings: dict[int, Event]) -> Event:
    if failed:
        (tmp_path / ranks.FAILURE).write_text(json.dumps(failed))
    for rank, event in endings.items():
        EventWriter(ranks.ending_path(tmp_path, rank))(event)
        time.sleep(0.01)
    return ranks._ending(Unit("0" * 16, "pretrain", {}, {}), tmp_path, 2, code)


OK, NAN, LOST = (Event("0" * 16, status, "pretrain", message) for status, message in (
    ("ok", ""), ("diverged", "the loss is nan"), ("error", "Connection closed by peer")))


@pytest.mark.parametrize(("code", "failed", "endings", "status", "message"), [
    (0, {}, {0: OK, 1: OK}, "ok", ""),
    (1, {1: -9}, {}, "killed", "process 1 of 2 was ended by SIGKILL"),
    (1, {0: 1, 1: -9}, {0: LOST}, "killed", "process 1 of 2 was ended by SIGKILL"),
    (1, {1: 3}, {0: LOST}, "crashed", "process 1 of 2 ended by itself with exit code 3"),
    (1, {0: 1, 1: 1}, {1: NAN, 0: LOST}, "diverged", "the loss is nan"),
    (-9, {}, {}, "killed", "the launcher of 2 processes was ended by SIGKILL"),
    (0, {}, {1: OK}, "crashed", "exit code 0 before its cell was done"),
])
def test_the_first_to_fail_is_named(tmp_path: Path, code: int, failed: dict[int, int], endings: dict[int, Event],
                                    status: str, message: str) -> None:
    event = ending(tmp_path, code, failed, endings)
    assert event.status == status
    assert message in event.message


# -- kills --------------------------------------------------------------------------------------------------------


def rank_processes(root: Path) -> list[int]:
    """Process ids of living ranks of a workshop, the launcher left out."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0] if line else "Z"
        except OSError:
            continue
        if b"ssl_skel.bench.rank\0" in line and str(root).encode() in line and state not in "ZX":
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("victim", ["rank", "run"])
def test_a_killed_process_ends_the_cell_and_the_next_run_goes_on(tmp_path: Path, victim: str) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("good", train={**TRAIN, "epochs": 8})
    journal = tmp_path / "journal"
    work = ("-p", "good", "-d", "tiny/xsub", "-e", "knn", "--gpus-per-cell", "2", "--set", STILL[0], "--threads", "1",
            "--executor", "process")
    with shop.start_run(*work, nap=0.1, journal=journal) as run:
        until = time.monotonic() + 600
        while not journal.exists() or len(journal.read_text().splitlines()) < 8:
            assert time.monotonic() < until, "it did not begin"
            time.sleep(0.05)
        os.kill(rank_processes(shop.root.parent)[-1] if victim == "rank" else run.pid, signal.SIGKILL)
        output, _ = run.communicate(timeout=120)
    if victim == "rank":
        assert run.returncode == 1, output
        (failure,) = RecordStore(shop.out).failures()
        assert (failure.status, failure.detail["signal"]) == ("killed", "SIGKILL")
        assert "of 2 was ended by SIGKILL" in failure.message
    until = time.monotonic() + 20
    while rank_processes(shop.root.parent):
        assert time.monotonic() < until, "ranks outlived their run"
        time.sleep(0.1)
    assert shop.bench_run(*work, timeout=900).returncode == 0
    quiet = Workshop.__new__(Workshop)
    quiet.root, quiet.out = shop.root, tmp_path / "quiet"
    assert quiet.run_here(quiet.plan("good", settings=STILL)) == 0
    (found,), (expected,) = results(shop.out).values(), results(quiet.out).values()
    assert found["metrics"] == expected["metrics"]
    assert found["id"] == expected["id"]
