"""Writing files so that a kill, a full disk or a second writer never leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from pathlib import Path

from ssl_skel.errors import OutputError

TEMP_PREFIX = ".tmp-"
STALE_TEMP_S = 3600.0
"""A temporary file older than this belongs to a writer that was killed."""

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space and run the same command again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and run the same command again."),
    errno.EFBIG: ("the file is larger than the limit set for this process", "Raise the limit (ulimit -f)."),
    errno.EROFS: ("the file system is read-only", "Choose another folder with --out."),
    errno.EACCES: ("permission denied", "Choose another folder with --out, or change its permissions."),
    errno.EPERM: ("not permitted", "Choose another folder with --out, or change its permissions."),
    errno.ENOENT: ("the folder is gone or never was there", "Make it, or start the run again."),
    errno.ENOTDIR: ("a file stands where a folder should be", "Move it away, or choose another folder."),
    errno.EISDIR: ("a folder stands where a file should be", "Move it away, or choose another folder."),
    errno.ELOOP: ("it is a symbolic link", "Replace the link by the real file or folder."),
}


def output_error(path: Path, error: OSError) -> OutputError:
    """Say in one line why `path` could not be written."""
    why, todo = _REASONS.get(error.errno or 0, (error.strerror or str(error), "Check the folder."))
    return OutputError(f"can't write {path}: {why}", todo)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all, and make it last through a power loss.

    The content goes to a temporary file in the same folder, which then takes the name in one step.

    Args:
        path: Target; its folder must exist.
        data: Bytes, or text to be written as UTF-8.

    Raises:
        OutputError: If the folder is gone, read-only or full; the target is then as it was.
    """
    content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    try:
        try:
            _replace(path, content)
        except FileNotFoundError:
            # Where a clock has jumped, another run may have swept our temporary file away as an old one.
            _replace(path, content)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from None


def _replace(path: Path, content: bytes) -> None:
    handle, temp = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        Path(temp).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temp).unlink()
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems can't sync a folder; the rename is then as safe as they make it.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def make_folder(root: Path, *parts: str) -> Path:
    """Make `root/parts[0]/parts[1]/...` below a root that exists, following no symbolic link below it.

    Raises:
        OutputError: If the root is gone, or a part is a link or a file, or can't be made.
    """
    folder = root
    try:
        if not root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR if root.exists() else errno.ENOENT, "")
        for part in parts:
            folder = folder / part
            if folder.is_symlink():
                raise OSError(errno.ELOOP, "")
            folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise output_error(folder, NotADirectoryError(errno.ENOTDIR, "")) from None
    except OSError as error:
        raise output_error(folder, error) from None
    return folder


def remove(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        OutputError: If the folder can't be written.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from None


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file that is no symbolic link and no larger than `limit` bytes.

    Raises:
        OSError: As the system says; ELOOP for a link.
        ValueError: If it is no regular file or too large.
    """
    # O_NONBLOCK: opening a FIFO that somebody put there must not hang.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        data = stream.read(min(limit, found.st_size) + 1)  # reading takes memory for all that is asked for
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit / 1e6:g} MB")
    return data


def sweep(root: Path) -> int:
    """Remove the temporary files that killed writers left under `root`, and count them."""
    count = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if name.startswith(TEMP_PREFIX):
                with contextlib.suppress(OSError):
                    if time.time() - path.lstat().st_mtime > STALE_TEMP_S:
                        path.unlink()
                        count += 1
    return count
