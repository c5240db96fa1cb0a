"""Finding raw files by name below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ssl_skel.errors import DataMissing


def find(raw: Path, name: re.Pattern[str]) -> Iterator[Path]:
    """Walk a folder for files whose whole name matches.

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
        yield from (Path(folder, file) for file in files if name.fullmatch(file))


def _refuse(error: OSError) -> None:
    raise DataMissing(f"can't list {error.filename}: {error.strerror}")
