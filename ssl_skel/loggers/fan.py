"""The loggers of one pretraining: each gets every step; one that fails is said to and left out, nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_skel.api import Logger
from ssl_skel.fsio import make_folder

FOLDER = "loggers"

MakeLogger = Callable[[Path, Mapping[str, Any], int], Logger]


class Loggers:
    """Hands the lines of a curve on.

    Args:
        makers: Registered name -> class.
        out: Output folder; a logger's files go to ``loggers/<logger>/<run>/`` there.
        run: Folder name of the pretraining.
        about: What is trained, as plain data.
        warn: Told once of each logger that fails.
    """

    def __init__(self, makers: Mapping[str, MakeLogger], out: Path, run: str, about: Mapping[str, Any],
                 warn: Callable[[str], None]) -> None:
        self._makers, self._out, self._run, self._about, self._warn = makers, out, run, about, warn
        self._alive: dict[str, Logger] = {}

    def start(self, step: int) -> None:
        """Open the loggers.

        Args:
            step: Last step of the checkpoint that is resumed, else 0.
        """
        def make(name: str) -> None:
            folder = make_folder(self._out, FOLDER, name, self._run)
            self._alive[name] = self._makers[name](folder, self._about, step)

        self._each(list(self._makers), make)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand a line on."""
        self._each(list(self._alive), lambda name: self._alive[name].log(step, values))

    def close(self) -> None:
        """Let every logger write what it holds."""
        self._each(list(self._alive), lambda name: self._alive[name].close())
        self._alive.clear()

    def _each(self, names: Sequence[str], do: Callable[[str], None]) -> None:
        for name in names:
            try:
                do(name)
            except Exception as error:  # somebody else's code, which must not cost a pretraining
                self._alive.pop(name, None)
                line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                self._warn(f"logger {name!r} failed and is off for this cell; its curves.jsonl is complete: {line}")
