"""What every reader of raw files does: find them, and turn each into clips."""

from __future__ import annotations

import itertools
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ssl_skel.data.clip import RawClip
from ssl_skel.errors import BadData, DataMissing


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a rule left out, on purpose; counted per rule in the report of `data prepare`.

    Attributes:
        name: Of the clip; ``clip:body`` for a body.
        rule: Short name of the rule, e.g. ``missing-skeletons-list``. ``body-...`` leaves out a body and
            ``frame-...`` frames of a clip that is kept; any other rule leaves out the clip.
        why: One line for the report.
    """

    name: str
    rule: str
    why: str


class Reader(ABC):
    """Reads the raw files of one dataset; made without arguments in every worker process.

    Attributes:
        version: Raised with every change that can change a stored number; part of the dataset's digest.
        policy: Named, versioned rule of body selection, or "" where there is nothing to choose.
    """

    version: ClassVar[int] = 1
    policy: ClassVar[str] = ""

    @abstractmethod
    def discover(self, raw: Path) -> list[Path]:
        """List the files to read, sorted.

        Args:
            raw: Folder that the user names; the reader also looks where the official archive unpacks to.

        Raises:
            DataMissing: If there is no such folder or no file of this dataset in it.
            BadData: On a zip instead of a folder, or two files of one name.
        """

    @abstractmethod
    def read(self, path: Path) -> Iterator[RawClip | Dropped]:
        """Read one file; it may hold many clips. Clips are checked by the caller (`check_clip`).

        Raises:
            BadData: With one line, if the file is not what it should be. Clips yielded before count.
        """


def raw_folder(raw: Path) -> Path:
    """Check that a raw folder can be listed.

    Raises:
        DataMissing: If it does not exist or may not be read.
        BadData: If it is a file (a zip that has to be unpacked, for one).
    """
    if raw.is_file():
        if zipfile.is_zipfile(raw):
            raise BadData(f"{raw} is a zip file", "Unpack it and give the folder.")
        raise BadData(f"{raw} is a file, not a folder")
    if not raw.is_dir():
        raise DataMissing(f"no folder {raw}", "Give the folder of raw files with --raw.")
    if not os.access(raw, os.R_OK | os.X_OK):
        raise DataMissing(f"no permission to list {raw}")
    return raw


def nothing_found(what: str, raw: Path) -> DataMissing:
    """The error for a folder without a file of the dataset.

    Args:
        what: Description of the files, e.g. ``NTU .skeleton files``.
        raw: Where was looked.
    """
    archives = sorted(path.name for path in raw.glob("*.zip"))
    return DataMissing(f"no {what} in {raw}", f"Unpack {archives[0]} and give the folder." if archives else
                       "Check --raw: it has to be the folder that holds them.")


def unique_stems(paths: list[Path], what: str, raw: Path) -> list[Path]:
    """Sort files by stem and refuse two of one stem.

    Args:
        paths: Files found.
        what: Description for the message, e.g. ``NTU .skeleton files``.
        raw: Where was looked.

    Raises:
        DataMissing: If there is none.
        BadData: If two share a stem.
    """
    if not paths:
        raise nothing_found(what, raw)
    paths = sorted(paths, key=lambda path: (path.stem, str(path)))
    for before, after in itertools.pairwise(paths):
        if before.stem == after.stem:
            raise BadData(f"two files of one name: {before} and {after}", "Remove one of them.")
    return paths
