"""Folders that can't be written, provoked for real: read-only, full, limited, gone, in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import OutputError
from ssl_skel.fsio import TEMP_PREFIX, read_bounded, sweep, write_atomic


def as_nobody(work: Callable[[], None]) -> str:
    """Run something as a user to whom a read-only folder is read-only (root may write anywhere); its refusal."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "no refusal"
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            work()
        except OutputError as error:
            said = error.format_message()
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        return stream.read()


def test_a_read_only_folder_is_one_clear_line() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        pair = make_record(0.5)
        said = as_nobody(lambda: write_atomic(folder / "a", "text"))
        assert said.startswith(f"can't write {folder / 'a'}: permission denied. Choose another folder")
        assert "permission denied" in as_nobody(lambda: fill(folder, pair).root.stat() and None)
        assert "permission denied" in as_nobody(lambda: RecordStore(folder / "new").create() and None)
        assert list(folder.iterdir()) == []
        folder.chmod(0o755)


def limited(limit: int, root: Path) -> str:
    """Write a record under a file-size limit and say what happened."""
    code = ("import resource, signal, sys\nfrom pathlib import Path\nfrom helpers.records import fill, make_record\n"
            "from ssl_skel.errors import OutputError\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
            f"try:\n    fill(Path({str(root)!r}), make_record(0.5, n=2000))\n"
            "except OutputError as error:\n    print(error.format_message())\n")
    tests, package = Path(__file__).parent, Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": f"{tests}:{package}"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_size_limit_leaves_no_litter(tmp_path: Path) -> None:
    said = limited(2000, tmp_path / "out")
    assert said.startswith(f"can't write {tmp_path / 'out/predictions'}")
    assert "larger than the limit" in said
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        write_atomic(disk / "a", b"x" * 30_000)
        with pytest.raises(OutputError, match="disk is full"):
            write_atomic(disk / "a", b"y" * 60_000)
        assert [p.name for p in disk.iterdir()] == ["a"]
        assert (disk / "a").read_bytes() == b"x" * 30_000
        store = RecordStore(disk / "out").create()
        pairs = [make_record(0.5, seed=seed) for seed in range(40)]
        with pytest.raises(OutputError, match="disk is full"):
            fill(store.root, *pairs)
        assert all(store.has(record.id) for record in store.all())
        assert not list(disk.rglob(".tmp-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_removed_folder_is_one_clear_line(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "out").create()
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError, match="the folder is gone"):
        store.write(*make_record(0.5))
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match=r"a file stands|can't write"):
        RecordStore(tmp_path / "out").create()
    with pytest.raises(OutputError, match="a file stands"):
        RecordStore(tmp_path / "out").write(*make_record(0.5))


def test_litter_of_killed_writers_is_swept(tmp_path: Path) -> None:
    store = fill(tmp_path, make_record(0.5))
    old, young = tmp_path / "predictions/.tmp-old", tmp_path / "predictions/.tmp-young"
    for path in (old, young):
        path.write_text("torn")
    os.utime(old, (0, 0))
    assert len(store.all()) == 1
    assert sweep(tmp_path) == 1
    assert not old.exists()
    assert young.exists()


def test_a_file_that_is_swept_while_it_is_written_is_written_again(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's clock is an hour ahead, and its run begins at the worst moment."""
    swept, fsync = [], os.fsync

    def meanwhile(handle: int) -> None:
        fsync(handle)
        if not swept:
            for temp in tmp_path.glob(f"{TEMP_PREFIX}*"):
                os.utime(temp, (0, 0))
            swept.append(sweep(tmp_path))

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_atomic(tmp_path / "a", "text")
    assert swept == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "text"


def test_a_bound_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    assert read_bounded(tmp_path / "a", 1 << 60) == b"text"
    with pytest.raises(ValueError, match="larger than"):
        read_bounded(tmp_path / "a", 3)
