"""Preparing: the same bytes whatever happens on the way, and a report of what could not be read."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from helpers.raw_ucla import clip_name, write_clip, write_folder
from helpers.slow_reader import GATE, MANY_CARD, SLOW_CARD
from ssl_skel.data.catalog import get_card
from ssl_skel.data.datasets.nw_ucla import CARD
from ssl_skel.data.prepare import claim, prepare, read_report
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.data.store import Store
from ssl_skel.errors import BadData, DataMissing, OutputError

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw(tmp_path):
    return write_folder(tmp_path / "raw", 12)


def test_keeps_every_clip_as_read(raw, tmp_path):
    done = prepare(CARD, raw.parent, tmp_path)
    assert done.fresh
    assert (done.report.files, done.report.kept, done.report.unreadable) == (12, 12, [])
    for path in raw.glob("*.json"):
        (clip,) = NwUclaReader().read(path)
        back = done.store.clip(done.store.names.index(clip.name))
        np.testing.assert_array_equal(back.xyz, clip.xyz)
        assert (back.label, back.subject, back.view) == (clip.label, clip.subject, clip.view)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".nw-ucla.lock", "nw-ucla", "raw"]


def test_workers_change_no_byte(tmp_path):
    raw = write_folder(tmp_path / "raw", 150)
    one, two = (prepare(CARD, raw, tmp_path / str(workers), workers=workers).store for workers in (1, 2))
    assert one.digest == two.digest
    for name in ("rows.npy", "valid.npy", "tracks.npy", "index.npy"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_again_is_a_matter_of_saying_so(raw, tmp_path):
    first = prepare(CARD, raw, tmp_path)
    stamp = (first.store.path / "meta.json").stat().st_mtime_ns
    again = prepare(CARD, raw, tmp_path)
    assert not again.fresh
    assert again.report.kept == 12
    assert (first.store.path / "meta.json").stat().st_mtime_ns == stamp
    assert prepare(CARD, raw, tmp_path, force=True).fresh


def test_other_files_need_force(raw, tmp_path):
    first = prepare(CARD, raw, tmp_path)
    write_clip(raw, clip_name(12, 9, 3, 3), np.ones((3, 20, 3)))
    with pytest.raises(BadData, match="prepared from other files"):
        prepare(CARD, raw, tmp_path)
    assert Store.open(first.store.path).digest == first.store.digest
    assert len(prepare(CARD, raw, tmp_path, force=True).store) == 13


BROKEN = {
    "torn": (lambda text: text[: len(text) // 2], "not a whole JSON file"),
    "torn number": (lambda text: text[: text.index(".") + 2], "not a whole JSON file"),
    "empty file": (lambda text: "", "not a whole JSON file"),
    "no list": (lambda text: json.dumps(json.loads(text) | {"skeletons": 3}), "frames of shape"),
    "empty clip": (lambda text: json.dumps(json.loads(text) | {"skeletons": []}), "empty clip"),
    "NaN": (lambda text: json.dumps(json.loads(text) | {"skeletons": [[[float("nan")] * 3] * 20]}), "NaN"),
    "huge": (lambda text: json.dumps(json.loads(text) | {"skeletons": [[[1e30] * 3] * 20]}), "beyond"),
    "19 joints": (lambda text: json.dumps(json.loads(text) | {"skeletons": [[[1.0] * 3] * 19]}), r"\(19, 3\)"),
    "ragged": (lambda text: json.dumps(json.loads(text) | {"skeletons": [[[1.0] * 3] * 20, [[1.0] * 3] * 19]}),
               "unequal"),
    "text": (lambda text: json.dumps(json.loads(text) | {"skeletons": [[["1"] * 3] * 20]}), "not a number"),
    "label": (lambda text: json.dumps(json.loads(text) | {"label": 9}), "label 9 in the file, 1 by its name"),
    "other clip": (lambda text: json.dumps(json.loads(text) | {"file_name": "a02_s01_e00_v01"}), "holds the clip"),
    "missing key": (lambda text: json.dumps({"label": 1}), "keys"),
    "a list": (lambda text: "[1, 2]", "keys"),
    "deep": (lambda text: "[" * 100_000, "not a whole JSON file"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_unreadable_files_are_reported_and_the_rest_kept(raw, tmp_path, kind):
    mutate, message = BROKEN[kind]
    path = raw / f"{clip_name(1, 1, 0, 1)}.json"
    path.write_text(mutate(path.read_text()))
    done = prepare(CARD, raw, tmp_path)
    assert (done.report.files, done.report.kept) == (12, 11)
    ((name, why),) = done.report.unreadable
    assert path.stem in name
    assert re.search(message, why)
    assert "\n" not in why
    assert read_report(done.store).unreadable == [(name, why)]
    with pytest.raises(BadData, match=message):
        prepare(CARD, raw, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict" / "nw-ucla").exists()


def test_a_mended_file_is_read_on_the_next_run(raw, tmp_path):
    path = raw / f"{clip_name(1, 1, 0, 1)}.json"
    whole = path.read_text()
    path.write_text(whole[:100])
    with pytest.raises(BadData):
        prepare(CARD, raw, tmp_path, strict=True)
    path.write_text(whole)
    assert prepare(CARD, raw, tmp_path, strict=True).report.kept == 12


def test_files_of_many_clips(tmp_path):
    """What stands before the tear is kept, what a rule drops is counted by rule, clips are ordered by name."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "x.many").write_text(json.dumps([["d", "keep"], ["b", "drop"], ["a", "keep"], ["z", "nan"]]))
    (raw / "y.many").write_text(json.dumps([["c", "keep"], ["e", "drop"], ["f", "stop"], ["g", "keep"]]))
    done = prepare(MANY_CARD, raw, tmp_path)
    assert done.store.names == ["a", "c", "d"]
    assert done.report.dropped_by_rule == {"too-short": 2}
    assert [name for name, _ in done.report.unreadable] == ["y.many", "z"]
    assert done.store.meta["report"] == {"files": 2, "kept": 3, "dropped": {"too-short": 2}, "unreadable": 2}
    assert read_report(done.store).dropped == [("b", "too-short", "3 frames"), ("e", "too-short", "3 frames")]


def test_one_name_in_two_files_is_refused(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in "xy":
        (raw / f"{name}.many").write_text(json.dumps([["same", "keep"]]))
    with pytest.raises(BadData, match="two clips are named same"):
        prepare(MANY_CARD, raw, tmp_path)
    assert not (tmp_path / "nw-ucla").exists()


def test_raw_folders_that_are_none(tmp_path):
    with pytest.raises(DataMissing, match="no folder"):
        prepare(CARD, tmp_path / "absent", tmp_path)
    with pytest.raises(DataMissing, match="no NW-UCLA files"):
        prepare(CARD, tmp_path, tmp_path / "data")
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("a", "b")
    with pytest.raises(BadData, match="is a zip file"):
        prepare(CARD, tmp_path / "all.zip", tmp_path)
    for card in (CARD, get_card("sbu")):
        with pytest.raises(DataMissing, match=r"no .* files .*Unpack all\.zip and give the folder"):
            prepare(card, tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_generated_dataset_has_nothing_to_prepare(tmp_path):
    with pytest.raises(BadData, match="no raw files"):
        prepare(dataclasses.replace(CARD, reader=""), tmp_path, tmp_path)


def test_a_second_process_is_refused(raw, tmp_path):
    with claim(tmp_path, CARD.name), pytest.raises(OutputError, match="another process"):
        prepare(CARD, raw, tmp_path)
    assert prepare(CARD, raw, tmp_path).fresh


def test_places_that_can_not_be_written(raw, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't write"):
        prepare(CARD, raw, tmp_path / "file")
    with pytest.raises(OutputError, match="can't write"):
        prepare(CARD, raw, Path("/proc/ssl-skel"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_root(raw, tmp_path):
    root = tmp_path / "data"
    root.mkdir(mode=0o555)
    with pytest.raises(OutputError, match="permission denied"):
        prepare(CARD, raw, root)


def environment():
    return os.environ | {"PYTHONPATH": f"{REPO}{os.pathsep}{REPO / 'tests'}"}


@pytest.mark.parametrize("limit", [2_000, 130_000], ids=["in a shard", "in the store"])
def test_a_full_disk_is_one_line_and_the_next_run_completes(tmp_path, limit):
    raw = write_folder(tmp_path / "raw", 130)
    code = (f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
            "from ssl_skel.data.prepare import prepare; from ssl_skel.data.datasets.nw_ucla import CARD; "
            f"from pathlib import Path; prepare(CARD, Path({str(raw)!r}), Path({str(tmp_path / 'data')!r}))")
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert ended.returncode == 1
    assert "OutputError" in ended.stderr
    assert "can't write" in ended.stderr
    with pytest.raises(DataMissing, match="half prepared" if limit > 100_000 else "not prepared"):
        Store.open(tmp_path / "data" / "nw-ucla")
    assert prepare(CARD, raw, tmp_path / "data").store.digest == prepare(CARD, raw, tmp_path / "other").store.digest


def held(raw, gate):
    """Environment of a preparation that waits at the last of its files while `gate` exists."""
    gate.write_text(max(path.name for path in raw.iterdir()))
    return environment() | {GATE: str(gate)}


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_and_again(tmp_path, workers):
    raw, root = write_folder(tmp_path / "raw", 320), tmp_path / "data"
    command = [sys.executable, "-m", "helpers.slow_reader", str(raw), str(root), str(workers)]
    process = subprocess.Popen(command, env=held(raw, tmp_path / "gate"))
    deadline = time.monotonic() + 60
    while len(list((root / "nw-ucla.partial").glob("*.npz"))) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(DataMissing, match="half prepared"):
        Store.open(root / "nw-ucla")
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "workers outlived their parent"
    done = {path: path.stat().st_mtime_ns for path in (root / "nw-ucla.partial").glob("*.npz")}
    assert 2 <= len(done) < 5
    redone, told = [], []
    finished = prepare(SLOW_CARD, raw, root, started=lambda *numbers: told.append(numbers),
                       progress=lambda files, size: redone.append(
                           all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())))
    assert all(redone), "a finished shard was made again"
    assert told == [(320, 64 * len(done))]
    assert len(redone) == 5 - len(done)
    assert finished.report.kept == 320
    assert finished.store.digest == prepare(CARD, raw, tmp_path / "undisturbed").store.digest


def test_interrupt_is_clean_and_again_completes(tmp_path):
    raw, root = write_folder(tmp_path / "raw", 320), tmp_path / "data"
    command = [sys.executable, "-m", "helpers.slow_reader", str(raw), str(root), "2"]
    process = subprocess.Popen(command, env=held(raw, tmp_path / "gate"), start_new_session=True,
                               stderr=subprocess.PIPE, text=True)
    while len(list((root / "nw-ucla.partial").glob("*.npz"))) < 3:  # by then both workers have begun
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    (tmp_path / "gate").unlink()  # who reads may finish its shard
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Process SpawnProcess" not in stderr
    assert prepare(SLOW_CARD, raw, root).report.kept == 320


def test_a_torn_shard_is_made_again(raw, tmp_path):
    path = raw / f"{clip_name(1, 1, 0, 1)}.json"
    whole = path.read_text()
    prepare(CARD, raw, tmp_path / "whole")
    path.write_text(whole[:50])
    os.utime(path, ns=(0, 0))
    root = tmp_path / "data"
    with claim(root, CARD.name) as partial:
        from ssl_skel.data.prepare import _deal, read_piece

        pieces = _deal(CARD, NwUclaReader().discover(raw), partial, NwUclaReader())
        read_piece(pieces[0], strict=False)
        pieces[0].shard.write_bytes(pieces[0].shard.read_bytes()[:-20])
    path.write_text(whole)
    assert prepare(CARD, raw, root).store.digest == Store.open(tmp_path / "whole" / "nw-ucla").digest
