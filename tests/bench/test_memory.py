"""Cells start when their memory is free: estimates, the queue, and what no machine can hold."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.tiny import Workshop, environment, results
from ssl_skel.bench import memory, queueing
from ssl_skel.bench.cell import build_task
from ssl_skel.bench.memory import Need, pretraining_mb
from ssl_skel.bench.queueing import queue
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.open import open_split
from ssl_skel.errors import TooLarge

CPU = torch.device("cpu")


def fail(line: str) -> None:
    raise AssertionError(line)


# -- estimates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("memory"))
    assert made.run_here(made.plan()) == 0
    return made


def estimate(shop: Workshop, out: Path, *settings: str) -> Need:
    cell = shop.plan(settings=settings).pretrainings[0]
    card = shop.catalogue().load("datasets", "tiny")
    clips = open_split("tiny", "xsub", card=card, frames=4).train.clips
    task = build_task(shop.catalogue(), cell, clips.layout)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    state = torch.random.get_rng_state()
    found = pretraining_mb(out, cell, task, clips, CPU)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in task.state_dict().items())
    assert task.training
    return found


def test_what_was_recorded_is_known_best(shop: Workshop, tmp_path: Path) -> None:
    record = RecordStore(shop.out).all()[0]
    assert estimate(shop, shop.out) == Need(record.cost["pretrain_peak_mb"] or 0, "recorded")
    assert estimate(shop, shop.out, "train.epochs=7", "train.lr=0.1").how == "recorded"
    for other in ("train.batch=6", "scale=3", "train.frames=8", "backbone.dim=4"):
        assert estimate(shop, shop.out, other).how == "bound"
    assert estimate(shop, tmp_path).how == "bound"


def test_where_memory_is_short_two_small_steps_are_measured(shop: Workshop, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_mb", lambda device: (1e6, 1.0))
    peaks = iter([500.0, 520.0])
    monkeypatch.setattr(memory, "peak_mb", lambda device: next(peaks))
    found = estimate(shop, tmp_path)  # 9 clips a step: 520 after four, 10 for each of five more, and the weights
    assert found.how == "measured"
    assert found.mb == pytest.approx(570, abs=1)
    peaks = iter([500.0, 500.0])  # nothing grew: an earlier peak hides it
    assert estimate(shop, tmp_path).how == "bound"


def test_a_method_that_fails_in_the_measurement_is_not_measured(shop: Workshop, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.plugin("raises") / "plugin.py"
    path.write_text(path.read_text().replace("        xyz, valid = views\n", "        raise ValueError('few')\n"))
    monkeypatch.setattr(memory, "machine_mb", lambda device: (1e6, 1.0))
    cell = shop.plan("raises").pretrainings[0]
    clips = open_split("tiny", "xsub", card=shop.catalogue().load("datasets", "tiny"), frames=4).train.clips
    task = build_task(shop.catalogue(), cell, clips.layout)
    assert pretraining_mb(tmp_path, cell, task, clips, CPU).how == "bound"


@pytest.mark.slow
def test_a_measurement_is_near_the_truth(tmp_path: Path) -> None:
    """In a process of its own, as a worker has it: a step of SimCLR takes what two small ones promised."""
    code = """
        import torch
        from ssl_skel.runtime import peak_mb, tame_allocator
        tame_allocator()
        from ssl_skel.bench import memory
        from ssl_skel.bench.cell import build_task
        from ssl_skel.bench.request import Asked, plan_of
        from ssl_skel.data.open import open_split
        from ssl_skel.registry import discover
        from pathlib import Path
        cell = plan_of(Asked(names=("simclr",), datasets=("synthetic/xsub",), device="cpu",
                             settings=("train.batch=64", "train.frames=24")), discover(), Path("x")).pretrainings[0]
        clips = open_split("synthetic", "xsub", frames=24).train.clips
        task = build_task(discover(), cell, clips.layout)
        need = memory._measure(cell, task, clips, torch.device("cpu"), 64)
        memory._step(cell, task, clips, torch.device("cpu"), 64)
        print(need, peak_mb(torch.device("cpu")))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True,
                          env=environment(), cwd=tmp_path)
    promised, taken = map(float, done.stdout.split())
    assert promised / 2 < taken < promised * 2


def test_the_limit_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.machine_mb(CPU)
    assert whole[0] >= whole[1] > 0
    monkeypatch.setenv(memory.LIMIT, "0.5")
    assert memory.machine_mb(CPU)[0] == 500
    assert memory.machine_mb(CPU)[1] <= 500
    monkeypatch.setenv(memory.LIMIT, "plenty")
    assert memory.machine_mb(CPU)[0] == whole[0]


# -- the queue ----------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine of 1000 MB of which this process holds 100, and 800 are free."""
    found = SimpleNamespace(limit=1000.0, free=800.0)
    monkeypatch.setattr(queueing, "machine_mb", lambda device: (found.limit, found.free))
    monkeypatch.setattr(queueing, "held_mb", lambda device: 100.0)
    monkeypatch.setattr(queueing, "POLL_S", 0.01)
    return found


def other_cell(out: Path, mb: float, device: str = "cpu") -> tuple[subprocess.Popen[bytes], Path]:
    """A promise to another living process, made before anybody else came."""
    process = subprocess.Popen(["sleep", "60"])
    (out / queueing.FOLDER).mkdir(parents=True, exist_ok=True)
    path = out / queueing.FOLDER / f"{queueing.host_mark()}.{process.pid}.{queueing.started(process.pid)}"
    path.write_text(f"{device} {mb}\n")
    os.utime(path, (1, 1))
    return process, path


def test_what_fits_starts_at_once_and_gives_its_place_back(tmp_path: Path, machine: SimpleNamespace) -> None:
    with queue(tmp_path, CPU) as place:
        place.take(Need(850, "recorded"), fail)
        assert len(list((tmp_path / "memory").iterdir())) == 1
    assert not list((tmp_path / "memory").iterdir())


@pytest.mark.parametrize(("mb", "problem"), [(1001, "has 1.0 GB for cells"), (950, "only 0.8 GB are free")])
def test_what_the_machine_can_not_hold_is_refused(tmp_path: Path, machine: SimpleNamespace, mb: float,
                                                  problem: str) -> None:
    with pytest.raises(TooLarge, match=problem) as caught, queue(tmp_path, CPU) as place:
        place.take(Need(mb, "measured"), fail)
    assert "--jobs" in caught.value.message
    assert not list((tmp_path / "memory").iterdir())


def test_nothing_is_refused_for_a_bound(tmp_path: Path, machine: SimpleNamespace) -> None:
    with queue(tmp_path, CPU) as place:
        place.take(Need(5000, "bound"), fail)


@pytest.mark.parametrize("how", ["recorded", "bound"])
def test_who_came_later_waits_until_the_other_is_gone(tmp_path: Path, machine: SimpleNamespace, how: str) -> None:
    process, path = other_cell(tmp_path, 700)
    said: list[str] = []

    def waiting(line: str) -> None:
        said.append(line)
        if len(said) == 3:
            process.kill()
            process.wait()

    try:
        with queue(tmp_path, CPU) as place:
            place.take(Need(500, how), waiting)
    finally:
        process.kill()
    assert len(said) >= 3
    assert "waits for memory: needs about 0.5 GB" in said[0]
    assert not path.exists()  # the dead one's promise was removed


def test_who_waits_can_be_asked_to_stop(tmp_path: Path, machine: SimpleNamespace) -> None:
    process, _ = other_cell(tmp_path, 900)

    def stop(line: str) -> None:
        raise InterruptedError

    try:
        with pytest.raises(InterruptedError), queue(tmp_path, CPU) as place:
            place.take(Need(500, "recorded"), stop)
        assert len(list((tmp_path / "memory").iterdir())) == 1
    finally:
        process.kill()


def test_other_devices_and_foreign_files_do_not_count(tmp_path: Path, machine: SimpleNamespace) -> None:
    process, path = other_cell(tmp_path, 900, "cuda:0")
    (path.parent / "notes").write_text("x")
    (path.parent / f"{queueing.host_mark()}.x.y").write_text("cpu 900")
    (path.parent / f"{path.name}.more").write_text("cpu 900")
    try:
        with queue(tmp_path, CPU) as place:
            place.take(Need(500, "recorded"), fail)
    finally:
        process.kill()


def test_a_run_refuses_a_cell_and_goes_on_with_the_next(tmp_path: Path) -> None:
    """Recorded: half a gigabyte; allowed: a tenth. The cell fails with the reason, in a real run."""
    shop = Workshop(tmp_path)
    assert shop.run_here(shop.plan()) == 0
    before = results(shop.out)
    done = shop.bench_run("-p", "tiny", "-d", "tiny/xsub", "-e", "knn", "-s", "1", "--executor", "inline",
                          env={**environment(), memory.LIMIT: "0.1"})
    assert done.returncode == 1
    assert "refused: tiny on tiny, pretrain: the cell needs about" in done.stdout
    assert "cpu has 0.1 GB for cells" in done.stdout
    assert results(shop.out) == before
    assert shop.run_here(shop.plan(seeds=(1,))) == 0
