"""What may be deleted to make room: caches, checkpoints, halves; never records, predictions, cards, curves, encoders.

Only files of the names and places that the suite itself gives them are found, and no symbolic link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_skel.errors import OutputError
from ssl_skel.fsio import STALE_TEMP_S, TEMP_PREFIX, output_error

LIMIT = "SSL_SKEL_CACHE_GB"
"""Environment variable: gigabytes (10^9 bytes) that cached features of an output folder may take."""
DEFAULT_GB = 20.0
CHECKPOINTS = ("last.ckpt", "previous.ckpt")  # `checkpoint.NAMES`, without importing torch
_ID = re.compile(r"[0-9a-f]{16}\Z")
_SHARD = re.compile(r"[0-9]{6}-[0-9a-f]{16}\.npz\Z")


@dataclass(frozen=True)
class Leftover:
    """A file that may go.

    Attributes:
        path: The file.
        size: Bytes.
        used: When it was last written or read, seconds since the epoch.
        what: ``features``, ``checkpoint``, ``temporary`` or ``half-prepared``.
    """

    path: Path
    size: int
    used: float
    what: str


def of_runs(out: Path, keep: int = 0, checkpoints: bool = False, running: Collection[str] = ()) -> list[Leftover]:
    """Find what may go from an output folder.

    Args:
        out: The folder.
        keep: Bytes of cached features that stay, those used last.
        checkpoints: Also those of pretrainings that are not finished, which then begin anew.
        running: Ids of cells that are at work; their checkpoints stay.
    """
    found = over(cached(out), keep) + _temporary(out)
    for folder in _folders(out / "pretrain"):
        if folder.name not in running and (checkpoints or (folder / "card.json").is_file()):
            found += [_leftover(path, "checkpoint") for path in _files(folder) if path.name in CHECKPOINTS]
    return sorted(found, key=lambda one: one.path)


def of_data(root: Path) -> list[Leftover]:
    """Find what unfinished `data prepare` runs left under a data root; one that is running is left alone."""
    found = _temporary(root)
    for partial in _plain(root, stat.S_ISDIR):
        if partial.suffix == ".partial" and not _locked(root / f".{partial.stem}.lock"):
            found += [_leftover(path, "half-prepared") for path in _files(partial) if _SHARD.match(path.name)]
            found += [_leftover(path, "half-prepared") for path in _files(partial / "store")]
    return sorted(found, key=lambda one: one.path)


def cached(out: Path) -> list[Leftover]:
    """Cached features of an output folder."""
    return [_leftover(path, "features") for folder in _folders(out / "features") for path in _files(folder)
            if path.suffix == ".safetensors"]


def over(found: Iterable[Leftover], keep: int) -> list[Leftover]:
    """Those that are too many if `keep` bytes may stay, the ones used last staying."""
    gone, room = [], keep
    for one in sorted(found, key=lambda one: (-one.used, one.path)):
        room -= one.size
        if room < 0:
            gone.append(one)
    return gone


def trim_cache(out: Path, spare: Path) -> None:
    """Hold the cached features of an output folder to their limit; a file that can't be removed stays.

    Args:
        out: The folder.
        spare: The file just written, which stays in any case.
    """
    try:
        limit = float(os.environ.get(LIMIT) or DEFAULT_GB)
    except ValueError:
        limit = DEFAULT_GB
    others = [one for one in cached(out) if one.path != spare]
    with contextlib.suppress(OSError):
        for one in over(others, max(0, int(limit * 1e9) - spare.stat().st_size)):
            one.path.unlink(missing_ok=True)


def delete(found: Sequence[Leftover]) -> None:
    """Delete what was found, and the folders that are empty then.

    Raises:
        OutputError: If a file can't be deleted.
    """
    for one in found:
        if any(folder.is_symlink() for folder in (one.path.parent, one.path.parent.parent)):
            raise OutputError(f"{one.path.parent} became a symbolic link meanwhile", "Nothing behind it was deleted.")
        try:
            one.path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(one.path, error) from None
    for folder in {one.path.parent for one in found if one.what in ("features", "half-prepared")}:
        with contextlib.suppress(OSError):
            folder.rmdir()
            if folder.name == "store":
                folder.parent.rmdir()


def _leftover(path: Path, what: str) -> Leftover:
    found = path.lstat()
    return Leftover(path, found.st_size, max(found.st_mtime, found.st_atime), what)


def _temporary(root: Path) -> list[Leftover]:
    """Temporary files of writers that were killed."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if name.startswith(TEMP_PREFIX) and time.time() - path.lstat().st_mtime > STALE_TEMP_S:
                found.append(_leftover(path, "temporary"))
    return found


def _folders(folder: Path) -> list[Path]:
    return [path for path in _plain(folder, stat.S_ISDIR) if _ID.match(path.name)]


def _files(folder: Path) -> list[Path]:
    return list(_plain(folder, stat.S_ISREG))


def _plain(folder: Path, kind: object) -> Iterator[Path]:
    """Entries of a folder that is no link, of a kind, no links among them."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(OSError):
            if kind(path.lstat().st_mode):  # type: ignore[operator]
                yield path


def _locked(lock: Path) -> bool:
    """Whether a `data prepare` holds the lock of its dataset."""
    with contextlib.suppress(OSError), lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
