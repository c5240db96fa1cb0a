"""Training curves as JSON lines: the truth that loggers and pictures read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ssl_skel.fsio import output_error, write_atomic

if TYPE_CHECKING:
    from ssl_skel.loggers.fan import Loggers


class CurveWriter:
    """Appends one JSON object a step; a number that is not finite becomes null.

    Args:
        path: The file.
        keep_until: Lines of later steps (written after the checkpoint that is being resumed) are dropped.
        loggers: Get every line after the file has it.

    Raises:
        OutputError: If the file can't be written.
    """

    def __init__(self, path: Path, keep_until: int = 0, loggers: Loggers | None = None) -> None:
        kept = [line for line in read_curves(path) if line["step"] <= keep_until] if keep_until else []
        write_atomic(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._path = path
        with _guard(path):
            self._handle = path.open("a", encoding="utf-8")
        self._loggers = loggers
        if loggers:
            loggers.start(keep_until)

    def write(self, values: dict[str, Any]) -> None:
        """Append one step."""
        plain = {key: None if isinstance(value, float) and not math.isfinite(value) else value
                 for key, value in values.items()}
        with _guard(self._path):
            self._handle.write(json.dumps(plain) + "\n")
        if self._loggers:
            self._loggers.log(values["step"], {key: value for key, value in values.items() if key != "step"})

    def flush(self) -> None:
        """Bring what was written to the file; a checkpoint refers to it."""
        with _guard(self._path):
            self._handle.flush()

    def __enter__(self) -> CurveWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._loggers:
            self._loggers.close()
        with _guard(self._path):
            self._handle.close()


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from None


def read_curves(path: Path) -> list[dict[str, Any]]:
    """Read a curves file; a torn last line is left out.

    Args:
        path: The file; a missing one has no lines.
    """
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or "step" not in line:
            break
        lines.append(line)
    return lines
