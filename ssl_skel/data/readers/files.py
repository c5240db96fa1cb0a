"""Finding raw files by name below a folder, and reading them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ssl_skel.errors import BadData, DataMissing

MAX_BYTES = 64 << 20
"""No text file of these datasets comes near; what is larger is not read into memory."""


def find(raw: Path, name: re.Pattern[str]) -> Iterator[Path]:
    """Walk a folder for files whose whole name matches; pipes and devices are passed over.

    Args:
        raw: Existing folder; links to folders are followed once, as the user may keep archives apart.
        name: Pattern of the file name.

    Raises:
        DataMissing: If a folder below may not be listed.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(raw, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (path for file in files if name.fullmatch(file) and _may_be_read(path := Path(folder, file)))


def _may_be_read(path: Path) -> bool:
    """Whether opening a file can't block; one that is not there (a dead link) fails when it is read."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def read_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a raw file whole.

    Args:
        path: Of the file.
        limit: Bytes that it may have.

    Raises:
        BadData: If it can't be read, or is larger.
    """
    try:
        if path.stat().st_size > limit:
            raise BadData(f"{path.name}: larger than {limit >> 20} MB, which no file of this dataset is")
        return path.read_bytes()
    except OSError as error:
        raise BadData(f"{path.name}: {error.strerror or error}") from None


def _refuse(error: OSError) -> None:
    raise DataMissing(f"can't list {error.filename}: {error.strerror}")
