"""From raw files to a store: parallel, streaming, safe to kill and to run again.

The raw files are dealt into fixed pieces; a worker process reads a piece and writes one shard atomically into
``<root>/<dataset>.partial/``. A shard's name holds a digest of its files' names, sizes and times and of the
reader, so after a kill exactly the missing or outdated shards are made. Assembly is by clip name: neither the
number of workers nor a kill changes a byte of the result.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.catalog import load_target
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.layouts import Layout
from ssl_skel.data.outdated import reader_changed
from ssl_skel.data.readers.base import Dropped, Reader
from ssl_skel.data.store import Store
from ssl_skel.data.store_write import (
    Packer,
    Report,
    assemble,
    finish_store,
    load_shard,
    save_shard,
    writing,
)
from ssl_skel.errors import BadData, OutputError

PIECE_FILES = 64
PIECE_BYTES = 32 << 20

Progress = Callable[[int, int], None]
"""Called with (files, bytes) done since the last call."""


@dataclass(frozen=True)
class Piece:
    """Files that one worker reads into one shard.

    Attributes:
        files: Raw files.
        sizes: Their sizes in bytes.
        shard: Where the shard goes.
        reader: ``module:Class`` of the reader.
        layout: That every clip must have.
    """

    files: tuple[Path, ...]
    sizes: tuple[int, ...]
    shard: Path
    reader: str
    layout: Layout


@dataclass(frozen=True)
class Prepared:
    """Outcome of `prepare`.

    Attributes:
        store: The open store.
        report: What was kept and why not.
        fresh: False where the store was there already.
    """

    store: Store
    report: Report
    fresh: bool


def prepare(card: DatasetCard, raw: Path, root: Path, *, workers: int = 1, strict: bool = False,
            force: bool = False, progress: Progress | None = None,
            started: Callable[[int, int], None] | None = None) -> Prepared:
    """Prepare a dataset.

    Args:
        card: Of the dataset.
        raw: Folder of raw files.
        root: Data root; the store becomes ``root / card.name``.
        workers: Processes; 1 reads in this one.
        strict: Fail on the first unreadable file or clip.
        force: Redo a dataset that is prepared.
        progress: Told of files and bytes as they are done.
        started: Told before the first how many files there are, and how many of them an earlier run has read.

    Raises:
        DataMissing: If the raw folder is not there or not of this dataset.
        BadData: With `strict`, for the first unreadable file; if no clip is kept; if the dataset was
            prepared from other raw files and `force` is not given.
        OutputError: If the output can't be written, or another process is preparing the same dataset.
    """
    reader = make_reader(card)
    files = reader.discover(raw)
    target = root / card.name
    with claim(root, card.name) as partial:
        raw_info = _raw_info(raw, files, reader)
        if (target / "meta.json").is_file() and not force:
            store = Store.open(target)
            if store.meta["raw"].get("fingerprint") == raw_info["fingerprint"]:
                return Prepared(store, read_report(store), fresh=False)
            raise _differs(store, raw_info, _fingerprint(files, reader, store.meta["raw"]), card.name)
        pieces = _deal(card, files, partial, reader)
        missing = _missing(pieces, strict)
        if started:
            started(len(files), len(files) - sum(len(piece.files) for piece in missing))
        _read_all(missing, workers, strict, progress)
        folder = partial / "store"
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            report = assemble([piece.shard for piece in pieces], folder, card.get_layout().num_joints)
            store = finish_store(folder, target, card, report, "raw", raw_info)
            shutil.rmtree(partial)
    return Prepared(store, report, fresh=True)


def make_reader(card: DatasetCard) -> Reader:
    """Import and make the reader of a dataset.

    Raises:
        BadData: If the dataset has no raw files.
    """
    if not card.reader:
        raise BadData(f"{card.name} is generated; it has no raw files", "It needs no preparing.")
    reader = load_target(card.reader)()
    assert isinstance(reader, Reader)
    return reader


def read_report(store: Store) -> Report:
    """The full report that was written when the store was prepared."""
    return Report.from_dict(json.loads((store.path / "report.json").read_bytes()))


@contextmanager
def claim(root: Path, name: str) -> Iterator[Path]:
    """Hold the folder in which a dataset is being prepared; refuse a second process.

    Args:
        root: Data root; made where it is missing.
        name: Dataset name.

    Yields:
        ``<root>/<name>.partial``, existing.

    Raises:
        OutputError: If another process holds it, or it can't be written.
    """
    partial = root / f"{name}.partial"
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / f".{name}.lock").open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another process is preparing {name} in {root}",
                              "Wait until it has ended.") from None
        with writing(partial):
            partial.mkdir(exist_ok=True)
        try:
            yield partial
        finally:
            if partial.is_dir() and not any(partial.iterdir()):
                partial.rmdir()


def _raw_info(raw: Path, files: Sequence[Path], reader: Reader) -> dict[str, object]:
    """Describe the raw files; the fingerprint is over names and sizes, so a copy elsewhere is the same."""
    made_by = {"reader_version": reader.version, "policy": reader.policy}
    return {"path": str(raw.resolve()), "files": len(files), "bytes": sum(_size_and_time(path)[0] for path in files),
            **made_by, "fingerprint": _fingerprint(files, reader, made_by)}


def _fingerprint(files: Sequence[Path], reader: Reader, made_by: dict[str, object]) -> str:
    """Of the files as the reader reads them, at the version and policy that `made_by` names."""
    listing = [[path.name, _size_and_time(path)[0]] for path in files]
    key = json.dumps([type(reader).__qualname__, made_by.get("reader_version"), made_by.get("policy"), listing])
    return hashlib.sha256(key.encode()).hexdigest()


def _differs(store: Store, now: dict[str, object], as_before: str, name: str) -> BadData:
    """The error for a store that these files and this reader would not make.

    Args:
        store: That is there.
        now: ``raw`` of what would be made.
        as_before: Fingerprint of the files with the reader that made the store.
        name: Of the dataset.
    """
    raw, version, policy = store.meta["raw"], now["reader_version"], now["policy"]
    changed = reader_changed(raw, version, policy, name)
    if changed and raw.get("fingerprint") == as_before:
        return BadData(f"{store.path} is outdated: {changed}; the files are the same",
                       "Give --force to prepare it again.")
    return BadData(f"{store.path} was prepared from other files ({raw.get('path')})",
                   "Give --force to replace it, or another --data-root.")


def _deal(card: DatasetCard, files: Sequence[Path], partial: Path, reader: Reader) -> list[Piece]:
    """Cut the sorted files into pieces of at most `PIECE_FILES` files and `PIECE_BYTES` bytes."""
    groups: list[list[tuple[Path, int, int]]] = []
    total = 0
    for path in files:
        size, time = _size_and_time(path)
        if not groups or len(groups[-1]) >= PIECE_FILES or total + size > PIECE_BYTES:
            groups.append([])
            total = 0
        groups[-1].append((path, size, time))
        total += size
    pieces = []
    for number, group in enumerate(groups):
        listing = [[str(path), size, time] for path, size, time in group]
        key = json.dumps([type(reader).__qualname__, reader.version, reader.policy, listing])
        shard = partial / f"{number:06d}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        paths, sizes = tuple(path for path, _, _ in group), tuple(size for _, size, _ in group)
        pieces.append(Piece(paths, sizes, shard, card.reader, card.get_layout()))
    return pieces


def _size_and_time(path: Path) -> tuple[int, int]:
    """Bytes and time of change of a file; zeros for one that is not there (a dead link), which reading reports."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _missing(pieces: Sequence[Piece], strict: bool) -> list[Piece]:
    """The pieces whose shards are not there yet, or that `strict` has to complain about again."""
    found = []
    for piece in pieces:
        loaded = load_shard(piece.shard, ())
        if loaded is None or (strict and loaded[1].unreadable):
            found.append(piece)
    return found


def _read_all(missing: Sequence[Piece], workers: int, strict: bool, progress: Progress | None) -> None:
    """Make the shards that are missing."""
    if workers <= 1 or len(missing) <= 1:
        for piece in missing:
            read_piece(piece, strict)
            if progress:
                progress(len(piece.files), sum(piece.sizes))
    else:
        _read_parallel(missing, min(workers, len(missing)), strict, progress)


def _read_parallel(pieces: Sequence[Piece], workers: int, strict: bool, progress: Progress | None) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        todo = iter(pieces)
        running: dict[Future[None], Piece] = {}
        try:
            while True:
                while len(running) < 2 * workers and (piece := next(todo, None)):
                    running[pool.submit(read_piece, piece, strict)] = piece
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    piece = running.pop(future)
                    future.result()
                    if progress:
                        progress(len(piece.files), sum(piece.sizes))
        except BrokenProcessPool:
            where = pieces[0].files[0].parent
            raise OutputError(f"a worker was killed while reading {where} (out of memory?)",
                              "Run the same command again with fewer --workers; it goes on.") from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone, also by SIGKILL; leave Ctrl-C to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait_for([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def read_piece(piece: Piece, strict: bool) -> None:
    """Read the files of a piece and write its shard.

    Raises:
        BadData: With `strict`, for the first unreadable file or clip; no shard is written then.
        OutputError: If the shard can't be written.
    """
    reader, layout = load_target(piece.reader)(), piece.layout
    packer, report = Packer(), Report()
    for path in piece.files:
        report.files += 1
        try:
            for item in reader.read(path):
                if isinstance(item, Dropped):
                    report.dropped.append((item.name, item.rule, item.why))
                else:
                    _keep(item, layout, packer, report, strict)
        except (BadData, OSError) as error:
            if strict:
                raise BadData(str(error)) from None
            report.unreadable.append((path.name, str(error)))
    with writing(piece.shard):
        save_shard(piece.shard, packer, report, layout.num_joints)


def _keep(clip: RawClip, layout: Layout, packer: Packer, report: Report, strict: bool) -> None:
    try:
        check_clip(clip, layout)
    except BadData as error:
        if strict:
            raise
        report.unreadable.append((clip.name, str(error)))
        return
    packer.add(clip)
    report.kept += 1
