"""What befalls a whole run, provoked for real: no power, no room, no folder, no memory, no reliable clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from helpers.power import Disk
from helpers.records import make_record
from helpers.tiny import Workshop, environment, results
from ssl_skel import checkpoint
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.verify import verify_record
from ssl_skel.errors import OutputError

pytestmark = pytest.mark.timeout(900)

OWNER = "0" * 16
WORK = ("-p", "good", "-d", "tiny/xsub", "-e", "knn", "-s", "0", "-s", "1", "--executor", "inline")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    shop = Workshop(tmp_path_factory.mktemp("faults"), ["base"])
    shop.plugin("good", train={"epochs": 10, "batch": 9, "frames": 4})
    return shop


@pytest.fixture(scope="module")
def undisturbed(shop: Workshop) -> dict[str, Any]:
    """Results of the same cells in a quiet run."""
    assert shop.run_here(shop.plan("good", seeds=[0, 1]), out=shop.root / "quiet") == 0
    return results(shop.root / "quiet")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.remove()


# -- power --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_what_was_written_before_the_power_went_is_there_and_whole(disk: Disk, seed: int) -> None:
    """Records and checkpoints are written without rest; at some moment the power goes."""
    store, saved, written = RecordStore(disk.folder / "out").create(), [], []
    (disk.folder / "pretrain").mkdir()
    state = {"owner": OWNER, "weights": torch.arange(20_000.0)}
    cut = threading.Timer(Random(seed).uniform(0.02, 0.3), disk.cut_power)
    cut.start()
    with pytest.raises(OutputError, match="can't write"):  # noqa: PT012
        for number in range(100_000):
            record, predictions = make_record(0.5, seed=number)
            store.write(record, predictions)
            written.append(record.id)
            checkpoint.save(disk.folder / "pretrain", {**state, "step": number})
            saved.append(number)
    cut.join()
    disk.restart()

    records, errors = store.scan()
    assert not errors
    assert set(written) <= {record.id for record in records}
    assert len(records) <= len(written) + 1
    for record in records:
        verify_record(store, record, rescore=True)
    found = checkpoint.load(disk.folder / "pretrain", OWNER)
    assert found is not None or not saved
    assert not saved or found["step"] >= saved[-1]


@pytest.mark.slow
def test_a_run_goes_on_after_a_power_loss(disk: Disk, shop: Workshop, undisturbed: dict[str, Any],
                                          tmp_path: Path) -> None:
    shop.out, journal = disk.folder / "out", tmp_path / "journal"
    with shop.start_run(*WORK, nap=0.02, journal=journal) as run:
        while not journal.exists() or len(journal.read_text().splitlines()) < 40:  # in the second pretraining
            assert run.poll() is None
            time.sleep(0.02)
        disk.cut_power()
        output, _ = run.communicate(timeout=600)
    assert run.returncode == 1, output
    assert "Traceback" not in output
    disk.restart()
    assert not RecordStore(shop.out).scan()[1]
    assert shop.run_here(shop.plan("good", seeds=[0, 1])) == 0
    assert results(shop.out) == undisturbed


# -- room ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(
        tmp_path: Path, shop: Workshop, undisturbed: dict[str, Any]) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        shop.out = place / "out"
        done = shop.bench_run(*WORK)
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert "the disk is full" in said
        assert "Traceback" not in said
        assert not list(place.rglob(".tmp-*"))
        assert not RecordStore(shop.out).scan()[1]
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        assert shop.run_here(shop.plan("good", seeds=[0, 1])) == 0
        assert results(shop.out) == undisturbed
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_run_whose_folder_is_removed_ends_in_one_line(tmp_path: Path, shop: Workshop, executor: str) -> None:
    shop.out, journal = tmp_path / "out", tmp_path / "journal"
    with shop.start_run(*WORK[:-2], "--executor", executor, nap=0.02, journal=journal) as run:
        while not journal.exists():
            assert run.poll() is None
            time.sleep(0.02)
        shutil.rmtree(shop.out)
        output, _ = run.communicate(timeout=600)
    assert run.returncode == 1, output
    assert "the folder is gone" in output
    assert "Traceback" not in output
    assert not shop.out.exists()


# -- memory -------------------------------------------------------------------------------------------------------

ROOM = "resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 2**28,) * 2)"
HUNGER = {
    "torch": f"import resource; {ROOM}; self.more = torch.zeros(2**30)",
    "numpy": f"import resource, numpy; {ROOM}; self.more = numpy.zeros(2**30)",
    "lists": f"import resource; {ROOM}; self.more = [0] * 2**30",
    "kernel": "open('{group}/cgroup.procs', 'w').write(str(os.getpid())); self.more = torch.zeros(2**28)",
    "device": "raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...')"}


@pytest.fixture
def group() -> Iterator[Path | None]:
    """A memory control group of 256 MB, where the system lets us make one."""
    place = Path(f"/sys/fs/cgroup/memory/ssl-skel-{os.getpid()}")
    try:
        place.mkdir()
        (place / "memory.limit_in_bytes").write_text(str(2**28))
    except OSError:
        yield None
        return
    yield place
    place.rmdir()


@pytest.mark.slow
def test_a_cell_without_memory_loses_itself_only(tmp_path: Path, group: Path | None) -> None:
    """The one of the device is raised by hand: there is no CUDA device here. All others are the system's answers."""
    names = [name for name in HUNGER if group or name != "kernel"]
    shop = Workshop(tmp_path, ["good"])
    for name in names:
        shop.plugin(name, HUNGER[name].format(group=group))
    asked = [part for name in (*names, "good") for part in ("-p", name)]
    done = shop.bench_run(*asked, "-d", "tiny/xsub", "-e", "knn", "--executor", "process")
    assert done.returncode == 1, done.stdout + done.stderr
    found = {failure.cell["plugin"]: failure for failure in RecordStore(shop.out).failures()}
    assert set(found) == set(names)
    for name in {"torch", "numpy", "lists"}:
        assert found[name].message.startswith("out of memory on the host. Run fewer cells at once"), found[name]
        assert found[name].detail == {"memory": "host"}
    assert found["device"].message.startswith("out of memory on the device")
    assert "in after_step" in found["device"].traceback
    if group:
        assert (found["kernel"].status, found["kernel"].detail) == ("killed", {"signal": "SIGKILL"})
        assert "lack of memory" in found["kernel"].message
    assert [record["cell"]["plugin"] for record in results(shop.out).values()] == ["good"]


# -- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, shop: Workshop, undisturbed: dict[str, Any]) -> None:
    """A day ahead, two days back, a year ahead while cells are at work, and a run that begins in the past."""
    faked = pytest.importorskip("libfaketime")
    library = next(Path(faked.__file__).parent.rglob("libfaketime.so*"))
    clock, journal = tmp_path / "clock", tmp_path / "journal"
    clock.write_text("+0")
    told = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    seen = subprocess.run([sys.executable, "-c", "import time; print(time.time())"], env=environment() | told | {
        "FAKETIME": "+10d"}, capture_output=True, text=True)
    if seen.returncode or not seen.stdout:
        pytest.skip(f"libfaketime does not work here: {seen.stderr[-200:]}")
    shop.out = tmp_path / "out"
    command = shop.command("bench", "run", *shop.run_arguments, *WORK[:-2], "--executor", "process")
    env = environment() | told | {"TINY_NAP": "0.02", "TINY_JOURNAL": str(journal)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for wanted, jump in ((5, "+1d"), (15, "-2d"), (35, "+365d"), (50, "-1d")):
            while run.poll() is None and (not journal.exists() or len(journal.read_text().splitlines()) < wanted):
                time.sleep(0.02)
            clock.write_text(jump)
        output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    assert results(shop.out) == undisturbed
    assert len({record.started[:10] for record in RecordStore(shop.out).all()}) > 1  # the clock did jump
    before = {path: path.stat().st_mtime_ns for path in (shop.out / "records").rglob("*.json")}
    assert shop.run_here(shop.plan("good", seeds=[0, 1])) == 0  # in what is the past of some of them
    assert before == {path: path.stat().st_mtime_ns for path in (shop.out / "records").rglob("*.json")}


# -- files torn afterwards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["short", "empty", "zeros"])
def test_any_torn_file_is_made_anew_by_the_same_command(tmp_path: Path, shop: Workshop, undisturbed: dict[str, Any],
                                                        harm: str) -> None:
    shop.out = tmp_path / "out"
    plan = shop.plan("good", seeds=[0, 1])
    assert shop.run_here(plan) == 0
    for path in sorted(path for path in shop.out.rglob("*") if path.is_file() and "boards" not in path.parts):
        data = path.read_bytes()
        path.write_bytes({"short": data[:len(data) // 2], "empty": b"", "zeros": bytes(len(data))}[harm])
    assert shop.run_here(plan) == 0
    assert results(shop.out) == undisturbed


