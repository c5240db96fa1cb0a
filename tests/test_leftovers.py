"""Cleaning makes room and costs no result: what is deleted is of known names and places, and nothing behind a link."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tiny import Workshop, results
from ssl_skel import checkpoint, leftovers
from ssl_skel.cli import clean
from ssl_skel.errors import SkelError
from ssl_skel.leftovers import Leftover

RUN, DONE = "0123456789abcdef", "f" * 16
KEPT = ("records/tiny-xsub/tiny/0.json", "predictions/0.csv", "failures/0.json", "boards/x/index.html", "plan.json",
        f"pretrain/{DONE}/card.json", f"pretrain/{DONE}/curves.jsonl", f"pretrain/{DONE}/encoders.safetensors",
        f"pretrain/{RUN}/curves.jsonl", "features/notes.txt", "features/mine/own.safetensors",
        f"features/{DONE}/notes.txt", f"pretrain/{DONE}/mine.ckpt", f"logs/{RUN}.log", "last.ckpt")


def make(root: Path, name: str, size: int = 10, age_s: float = 0.0) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for name in KEPT:
        make(root, name)
    for number in range(4):
        make(root, f"features/{DONE}/tiny-{number}.safetensors", 1000, age_s=1000 * number)
    make(root, f"pretrain/{DONE}/previous.ckpt")
    make(root, f"pretrain/{RUN}/last.ckpt")
    make(root, f"pretrain/{RUN}/.tmp-new")
    make(root, "records/.tmp-old", age_s=2 * leftovers.STALE_TEMP_S)
    return root


def names(found: list[Leftover], root: Path) -> set[str]:
    return {one.path.relative_to(root).as_posix() for one in found}


def everything(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() or path.is_symlink()}


def test_what_goes_and_what_stays(out: Path) -> None:
    before = everything(out)
    found = leftovers.of_runs(out)
    assert names(found, out) == {*(f"features/{DONE}/tiny-{n}.safetensors" for n in range(4)),
                                 f"pretrain/{DONE}/previous.ckpt", "records/.tmp-old"}
    leftovers.delete(found)
    assert everything(out) == before - names(found, out)
    assert set(KEPT) <= everything(out)
    assert leftovers.of_runs(out) == []


def test_checkpoints_of_the_unfinished_go_only_when_asked_for_and_idle(out: Path) -> None:
    assert f"pretrain/{RUN}/last.ckpt" in names(leftovers.of_runs(out, checkpoints=True), out)
    assert f"pretrain/{RUN}/last.ckpt" not in names(leftovers.of_runs(out, checkpoints=True, running={RUN}), out)
    assert leftovers.CHECKPOINTS == checkpoint.NAMES


def test_features_used_last_are_kept(out: Path) -> None:
    gone = names([one for one in leftovers.of_runs(out, keep=2500) if one.what == "features"], out)
    assert gone == {f"features/{DONE}/tiny-{n}.safetensors" for n in (2, 3)}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5)), max_size=8), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_what_stays_is_within_the_limit_and_was_used_later(files: list[tuple[int, int]], keep: int) -> None:
    found = [Leftover(Path(str(n)), size, float(used), "features") for n, (size, used) in enumerate(files)]
    gone = leftovers.over(found, keep)
    stays = [one for one in found if one not in gone]
    assert sum(one.size for one in stays) <= keep
    assert all(a.used >= b.used for a in stays for b in gone)
    if not gone:
        assert len(stays) == len(found)


@pytest.mark.parametrize("link", ["features", f"features/{DONE}", f"pretrain/{DONE}",
                                  f"features/{DONE}/tiny-0.safetensors"])
def test_no_link_is_followed(out: Path, tmp_path: Path, link: str) -> None:
    aside = tmp_path / "aside"
    shutil.move(out / link, aside)
    (out / link).symlink_to(aside)
    before = everything(tmp_path)
    found = leftovers.of_runs(out, checkpoints=True)
    assert not [one for one in found if str(one.path).startswith(str(out / link))]
    leftovers.delete(found)
    assert before - everything(tmp_path) == {f"runs/{name}" for name in names(found, out)}


def test_a_folder_that_becomes_a_link_is_refused(out: Path, tmp_path: Path) -> None:
    found = leftovers.of_runs(out)
    shutil.move(out / "features" / DONE, tmp_path / "aside")
    (out / "features" / DONE).symlink_to(tmp_path / "aside")
    with pytest.raises(SkelError, match="became a symbolic link"):
        leftovers.delete([one for one in found if one.what == "features"])
    assert len(list((tmp_path / "aside").glob("*.safetensors"))) == 4


def test_a_preparation_that_runs_is_left_alone(tmp_path: Path) -> None:
    shard = make(tmp_path, f"nw-ucla.partial/000001-{RUN}.npz")
    half = make(tmp_path, "nw-ucla.partial/store/rows.npy")
    mine = make(tmp_path, "sbu.partial/notes.txt")
    make(tmp_path, "nw-ucla/rows.npy")
    lock = make(tmp_path, ".nw-ucla.lock")
    with lock.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert leftovers.of_data(tmp_path) == []
    found = leftovers.of_data(tmp_path)
    assert {one.path for one in found} == {shard, half}
    leftovers.delete(found)
    assert not (tmp_path / "nw-ucla.partial").exists()
    assert mine.exists()
    assert (tmp_path / "nw-ucla" / "rows.npy").exists()


@pytest.mark.parametrize(("limit", "left"), [("0.0000025", 2), ("0", 1), ("", 5), ("many", 5)])
def test_the_cache_holds_its_limit(out: Path, monkeypatch: pytest.MonkeyPatch, limit: str, left: int) -> None:
    monkeypatch.setenv(leftovers.LIMIT, limit)
    new = make(out, f"features/{RUN}/tiny-9.safetensors", 1000)
    leftovers.trim_cache(out, new)
    assert new.exists()
    assert len(leftovers.cached(out)) == left


# -- the commands -------------------------------------------------------------------------------------------------


def test_a_dry_run_deletes_nothing_and_says_all(out: Path) -> None:
    before = everything(out)
    done = CliRunner().invoke(clean.bench, ["--out", str(out), "--dry-run"])
    assert done.exit_code == 0
    assert everything(out) == before
    assert "6 files, 0.0 MB would be deleted" in done.output
    told = json.loads(CliRunner().invoke(clean.bench, ["--out", str(out), "--keep", "3K", "--json"]).output)
    assert told["deleted"] is True
    assert {entry["what"] for entry in told["files"]} == {"features", "checkpoint", "temporary"}
    assert before - everything(out) == {Path(entry["path"]).relative_to(out).as_posix() for entry in told["files"]}


@pytest.mark.parametrize("size", ["", "5X", "-1", "1e9", "five", "1..2G", "9" * 50])
def test_a_size_that_is_none(size: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(clean.bench, ["--out", str(tmp_path), "--keep", size])
    assert done.exit_code == 2
    assert "is no size" in done.output


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for command, option in ((clean.bench, "--out"), (clean.data, "--data-root")):
        assert CliRunner().invoke(command, [option, str(tmp_path / "none")]).exit_code == 2
    assert not (tmp_path / "none").exists()


def test_after_cleaning_the_same_numbers_come_out(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    plan = shop.plan(evaluators=("knn",))
    assert shop.run_here(plan) == 0
    before = results(shop.out)
    done = CliRunner().invoke(clean.bench, ["--out", str(shop.out), "--checkpoints"])
    assert done.exit_code == 0
    assert not list(shop.out.glob("features/*"))
    assert results(shop.out) == before
    assert shop.run_here(shop.plan(evaluators=("knn", "linear"))) == 0
    after = results(shop.out)
    assert {key: after[key] for key in before} == before
    assert len(after) == 2
