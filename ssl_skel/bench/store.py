"""The output folder of a suite: records, predictions, failures; read with distrust, written whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ssl_skel import fsio, ids, yamlio
from ssl_skel.bench.predictions import PredictionTable, read_predictions
from ssl_skel.bench.record import CellKey, Failure, Predictions, Record, seal_of
from ssl_skel.bench.record_ids import Cards, check_own_id, counted_twice
from ssl_skel.errors import BadRecord
from ssl_skel.jsonio import parse_json
from ssl_skel.schema import NAME, Model

MAX_RECORD_BYTES = 1_000_000
MAX_PREDICTION_BYTES = 100_000_000
ID = re.compile(r"[0-9a-f]{16}\Z")
REDO = "Remove it and run the same command again, or restore it from git."

ModelT = TypeVar("ModelT", bound=Model)


class RecordStore:
    """Records under one output folder.

    The layout is ``records/<dataset>-<split>/<plugin>/<id>.json``, ``predictions/<id>.csv``,
    ``failures/<id>.json``, ``pretrain/<id>/`` and ``boards/``. No symbolic link below it is followed.

    Args:
        root: The output folder; it need not exist for reading.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def create(self) -> RecordStore:
        """Make the output folder and return the store.

        Raises:
            OutputError: If it can't be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise fsio.output_error(self.root, error) from None
        return self

    # -- paths ---------------------------------------------------------------------------------------------

    def record_path(self, record_id: str, cell: CellKey) -> Path:
        """Where the record of a cell belongs."""
        return self.root / "records" / cell_folder(cell) / cell.plugin / f"{_checked_id(record_id)}.json"

    def predictions_path(self, record_id: str) -> Path:
        """Where the predictions of a record belong."""
        return self.root / "predictions" / f"{_checked_id(record_id)}.csv"

    def failure_path(self, cell_id: str) -> Path:
        """Where the failure of a cell belongs."""
        return self.root / "failures" / f"{_checked_id(cell_id)}.json"

    def pretrain_folder(self, pretrain_id: str) -> Path:
        """Where card, curves, checkpoints and encoders of a pretraining belong."""
        return self.root / "pretrain" / _checked_id(pretrain_id)

    # -- writing -------------------------------------------------------------------------------------------

    def write(self, record: Record, predictions: bytes) -> Path:
        """Seal a record and write it after its predictions; a failure of the same cell is cleared.

        Args:
            record: Its `predictions` and its seal are set here.
            predictions: From `ssl_skel.bench.predictions.write_predictions`.

        Returns:
            The path of the record.

        Raises:
            BadRecord: If the record does not agree with itself.
            OutputError: If the folder can't be written.
        """
        path = self.record_path(record.id, record.cell)
        referred = record.model_copy(update={"predictions": predictions_ref(record.id, predictions)})
        raw = referred.model_dump(mode="json", by_alias=True)
        try:
            raw["seal"] = seal_of(raw)
            sealed = _validate(Record, raw, str(path))
        except ValueError as error:
            raise BadRecord(f"record {record.id} can't be written: {error}") from None
        _check_inside(raw, sealed, path)
        fsio.make_folder(self.root, "predictions")
        fsio.make_folder(self.root, *path.parent.relative_to(self.root).parts)
        fsio.write_atomic(self.predictions_path(record.id), predictions)
        fsio.write_atomic(path, _dump(raw))
        self.clear_failure(record.id)
        return path

    def write_failure(self, failure: Failure) -> Path:
        """Write why a cell did not finish; it replaces an earlier failure of the cell."""
        path = self.failure_path(failure.id)
        fsio.make_folder(self.root, "failures")
        fsio.write_atomic(path, _dump(failure.model_dump(mode="json", by_alias=True)))
        return path

    def clear_failure(self, cell_id: str) -> None:
        """Forget the failure of a cell, if there is one."""
        fsio.remove(self.failure_path(cell_id))

    # -- reading -------------------------------------------------------------------------------------------

    def read(self, record_id: str) -> Record:
        """Read the record with an id.

        Raises:
            BadRecord: If there is none, or it is torn, edited, misplaced, under another's id or behind a symbolic link.
        """
        name = f"{_checked_id(record_id)}.json"
        paths = [folder / name for folder in self._plugin_folders() if _exists(folder / name)]
        if not paths:
            raise BadRecord(f"there is no record {record_id} under {self.root}")
        return self.load(paths[0])

    def load(self, path: Path) -> Record:
        """Read the record file at a path below this store and check it against itself.

        Raises:
            BadRecord: Naming the file and what disagrees.
        """
        self._refuse_links(path)
        raw = _read_json(path)
        record = _validate(Record, raw, str(path))
        _check_inside(raw, record, path)
        if path != self.record_path(record.id, record.cell):
            place = f"{cell_folder(record.cell)}/{record.cell.plugin}/{record.id}.json"
            raise BadRecord(f"{path} holds the record that belongs to {place}", "Move it back to that place.")
        check_own_id(record)
        return record

    def scan(self) -> tuple[list[Record], list[BadRecord]]:
        """Read every record, in a fixed order; what can't be read, or was not run as it says, comes back as errors."""
        records, errors = [], []
        cards = Cards(self.root / "pretrain")
        try:
            for path in self._record_files():
                try:
                    record = self.load(path)
                    cards.check(record)
                    records.append(record)
                except BadRecord as error:
                    errors.append(error)
        except BadRecord as error:
            errors.append(error)
        records.sort(key=sort_key)
        return records, [*errors, *counted_twice(records)]

    def all(self) -> list[Record]:
        """Read every record, sorted by dataset, split, evaluator, plugin, label, streams, fusion, seed, id.

        Raises:
            BadRecord: For the first one that is torn, edited, misplaced, linked, or not of the pretraining it names.
        """
        records, errors = self.scan()
        if errors:
            raise errors[0]
        return records

    def has(self, record_id: str) -> bool:
        """Whether a valid record is here whose predictions are the ones it was computed from."""
        try:
            self.read_predictions(self.read(record_id))
        except BadRecord:
            return False
        return True

    def read_predictions(self, record: Record) -> PredictionTable:
        """Read the predictions of a record.

        Raises:
            BadRecord: If they are missing, changed, or not as many as the test part has clips.
        """
        path = self.predictions_path(record.id)
        self._refuse_links(path)
        data = _read(path, MAX_PREDICTION_BYTES)
        if predictions_ref(record.id, data) != record.predictions:
            raise BadRecord(f"{path} is not what record {record.id} was computed from: sha256 differs", REDO)
        table = read_predictions(data, str(path))
        if len(table) != record.n.test:
            raise BadRecord(f"{path} holds {len(table)} clips, record {record.id} says {record.n.test}", REDO)
        return table

    def failures(self) -> list[Failure]:
        """Read every failure, sorted by id.

        Raises:
            BadRecord: For one that is torn or linked.
        """
        found = []
        for path in self._files(self.root / "failures", ".json"):
            self._refuse_links(path)
            failure = _validate(Failure, _read_json(path), str(path))
            if failure.id != path.stem:
                raise BadRecord(f"{path} holds the failure of cell {failure.id}", REDO)
            found.append(failure)
        return found

    # -- walking -------------------------------------------------------------------------------------------

    def _plugin_folders(self) -> Iterator[Path]:
        for cells in self._folders(self.root / "records"):
            yield from self._folders(cells)

    def _record_files(self) -> Iterator[Path]:
        for folder in self._plugin_folders():
            yield from self._files(folder, ".json")

    def _folders(self, folder: Path) -> list[Path]:
        found = []
        for entry in self._entries(folder):
            if entry.is_symlink():
                raise BadRecord(f"{entry.path} is a symbolic link", "Records are not read through links.")
            if entry.is_dir():
                found.append(Path(entry.path))
        return found

    def _files(self, folder: Path, suffix: str) -> list[Path]:
        return [Path(entry.path) for entry in self._entries(folder)
                if entry.name.endswith(suffix) and not entry.name.startswith(".")]

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        if folder.is_symlink():
            raise BadRecord(f"{folder} is a symbolic link", "Records are not read through links.")
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise BadRecord(f"can't read {folder}: {error.strerror}") from None

    def _refuse_links(self, path: Path) -> None:
        folder = self.root
        for part in path.relative_to(self.root).parts:
            folder = folder / part
            if part == ".." or folder.is_symlink():
                raise BadRecord(f"{folder} is a symbolic link", "Records are not read through links.")


def predictions_ref(record_id: str, data: bytes) -> Predictions:
    """Say where the predictions of a record go, and their digest, for its `predictions` field."""
    sha256 = hashlib.sha256(data).hexdigest()
    return Predictions(path=f"predictions/{_checked_id(record_id)}.csv", sha256=sha256)


def cell_folder(cell: CellKey) -> str:
    """Name of the folder of a dataset and split."""
    return f"{cell.dataset}-{cell.split}"


def sort_key(record: Record) -> tuple[str | int, ...]:
    """Fix the order of records, whatever order they were written in."""
    cell = record.cell
    return (cell.dataset, cell.split, cell.evaluator, cell.plugin, cell.label, cell.backbone, cell.streams,
            cell.fusion, cell.seed, record.id)


def _checked_id(value: str) -> str:
    if not ID.match(value):
        raise BadRecord(f"{value[:80]!r} is no id", "An id is 16 lower-case hexadecimal digits.")
    return value


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _check_inside(raw: dict[str, Any], record: Record, path: Path) -> None:
    """Check what a record says against itself."""
    if record.seal != raw.get("seal") or seal_of(raw) != record.seal:
        raise BadRecord(f"{path} was changed after it was written (its seal does not fit)", REDO)
    for name in (record.cell.plugin, *record.cell.dataset.split("+"), record.cell.split):
        if not NAME.match(name):
            raise BadRecord(f"{path}: {name[:80]!r} is no name")
    if record.predictions.path != f"predictions/{record.id}.csv":
        raise BadRecord(f"{path} points to predictions at {record.predictions.path[:80]!r}", REDO)
    if record.digests.config != ids.digest(record.config):
        raise BadRecord(f"{path} holds another configuration than its digest says", REDO)
    if record.primary not in record.metrics:
        raise BadRecord(f"{path} ranks by {record.primary!r}, which is not among its metrics", REDO)


def _dump(raw: dict[str, Any]) -> str:
    return json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _read(path: Path, limit: int) -> bytes:
    try:
        return fsio.read_bounded(path, limit)
    except FileNotFoundError:
        raise BadRecord(f"{path} is missing", "Restore it from git, or remove its record and run again.") from None
    except (OSError, ValueError) as error:
        raise BadRecord(f"can't read {path}: {getattr(error, 'strerror', None) or error}", REDO) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = parse_json(_read(path, MAX_RECORD_BYTES), finite=True)
        seal_of(raw if isinstance(raw, dict) else {})
    except ValueError as error:
        raise BadRecord(f"{path} is torn or no JSON: {error}", REDO) from None
    if not isinstance(raw, dict):
        raise BadRecord(f"{path} holds no JSON object", REDO)
    return raw


def _validate(model: type[ModelT], raw: dict[str, Any], origin: str) -> ModelT:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise BadRecord(f"{origin}: {yamlio.describe(error, model)}", REDO) from None

