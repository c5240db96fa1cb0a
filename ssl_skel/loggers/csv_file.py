"""Curves as one CSV file a pretraining, for whatever reads tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "curves.csv"


class CSVLogger:
    """Writes ``curves.csv``: one line a step, a column for every value.

    Args:
        folder: Of this pretraining.
        about: Not used; the pretraining's card says it all.
        step: Lines of later steps, written before a crash, are dropped.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], step: int) -> None:
        self._path, self._columns = folder / FILE, ["step"]
        rows: list[dict[str, str]] = []
        if step and self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as handle:
                found = csv.DictReader(handle)
                rows = [row for row in found if (row["step"] or "").isdigit() and int(row["step"]) <= step]
                self._columns = list(found.fieldnames or self._columns)
        self._begin(rows)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line; a value that was not there before gets a column, empty in the lines above."""
        if new := [name for name in values if name not in self._columns]:
            self._handle.close()
            with self._path.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
            self._columns += new
            self._begin(rows)
        self._writer.writerow({"step": step, **values})

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def _begin(self, rows: list[dict[str, str]]) -> None:
        self._handle = self._path.open("w", newline="", encoding="utf-8", buffering=1)
        self._writer = csv.DictWriter(self._handle, self._columns)
        self._writer.writeheader()
        self._writer.writerows(rows)
