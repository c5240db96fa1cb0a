"""Events and units as files of JSON lines, for processes that share a folder and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

from ssl_skel.api import Event, Unit
from ssl_skel.fsio import output_error, write_atomic

UNIT = "unit.json"
STOP = "stop"


def write_unit(folder: Path, unit: Unit) -> None:
    """Write a unit to ``unit.json``.

    Raises:
        OutputError: If the folder can't be written.
    """
    write_atomic(folder / UNIT, json.dumps(dataclasses.asdict(unit)))


def read_unit(folder: Path) -> Unit:
    """Read the unit of a folder."""
    return Unit(**json.loads((folder / UNIT).read_text(encoding="utf-8")))


class EventWriter:
    """Appends events to a file, each whole and at once.

    Args:
        path: The file; events of an earlier try stay above.

    Raises:
        OutputError: If the file can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise output_error(path, error) from None

    def __call__(self, event: Event) -> None:
        """Write an event; a final one reaches the disk before this returns."""
        line = json.dumps(dataclasses.asdict(event)).encode() + b"\n"
        try:
            with self._lock:
                os.write(self._handle, line)
                if event.status != "progress":
                    os.fsync(self._handle)
        except OSError as error:
            raise output_error(self._path, error) from None


class EventReader:
    """Reads what was appended to a file since it was last asked; a torn last line waits until it is whole.

    Args:
        path: The file; it need not exist yet.
        new: Whether to skip what it holds now.
    """

    def __init__(self, path: Path, new: bool = False) -> None:
        self._path, self._at = path, 0
        if new and path.exists():
            self._at = path.stat().st_size

    def __call__(self) -> list[Event]:
        """Events that are new; a line that is no event is left out."""
        try:
            with self._path.open("rb") as handle:
                handle.seek(self._at)
                data = handle.read()
        except OSError:
            return []
        whole = data[:data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [event for line in whole.splitlines() if (event := _event(line)) is not None]


def _event(line: bytes) -> Event | None:
    try:
        raw: Any = json.loads(line)
        return Event(**raw)
    except (ValueError, TypeError, RecursionError):
        return None
