"""Made-up records, so that stores and boards can be tested without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_skel import ids
from ssl_skel.bench.predictions import PredictionTable, rescore, write_predictions
from ssl_skel.bench.record import Record
from ssl_skel.bench.store import RecordStore, predictions_ref

CLASSES = 8


def make_predictions(accuracy: float, seed: int, n: int = 60, classes: int = CLASSES) -> PredictionTable:
    """Predictions that are right for about `accuracy` of n clips; labels are the same for any seed."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    top = np.stack([rng.permutation(classes) for _ in range(n)])
    for row in np.flatnonzero(np.arange(n) < round(accuracy * n)):
        order = [labels[row], *(c for c in top[row] if c != labels[row])]
        top[row] = order
    for row in np.flatnonzero(np.arange(n) >= round(accuracy * n)):
        order = [c for c in top[row] if c != labels[row]]
        top[row] = [*order[:1], labels[row], *order[1:]]
    return PredictionTable(tuple(f"clip-{i:03d}" for i in range(n)), labels, top[:, :min(5, classes)])


def make_record(accuracy: float = 0.5, *, plugin: str = "simclr", seed: int = 0, n: int = 60, classes: int = CLASSES,
                predictions_seed: int = 0, **changes: Any) -> tuple[Record, bytes]:
    """One record and the bytes of its predictions; `changes` go to the cell or to the record.

    A change whose key holds two underscores sets a nested key: ``config__frames=20``.
    """
    cell: dict[str, Any] = {"plugin": plugin, "label": "", "backbone": "st-gcn", "dataset": "nw-ucla", "split": "v3",
                            "evaluator": "linear", "seed": seed, "streams": "encoder", "fusion": "single"}
    cell.update({key: changes.pop(key) for key in list(changes) if key in cell})
    record_id = changes.pop("id", None) or ids.short_id([cell, repr(sorted(changes.items()))])
    table = make_predictions(accuracy, predictions_seed, n, classes)
    data = write_predictions(table.clips, table.labels, table.top)
    raw: dict[str, Any] = {
        "id": record_id, "pretrain_id": ids.short_id(["pretrain", plugin, seed]), "suite": "made-up", "cell": cell,
        "versions": {"suite": "0.1.0", "plugin": 1, "evaluator": 1, "backbone": 1},
        "digests": {"plugin": "p" * 8, "core": "c" * 8, "dataset": "d" * 8, "split": "s" * 8, "config": "",
                    "encoder": "e" * 8},
        "config": {"task": {}, "train": {"epochs": 10, "batch": 32}, "backbone": {}, "evaluator": {}, "frames": 40,
                   "preprocessing": {"name": "view-aligned", "version": 1}, "precision": "fp32"},
        "primary": "top1", "metrics": {}, "ci95": {"top1": (max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1))},
        "n": {"train": 100, "val": 20, "test": n}, "num_classes": classes,
        "predictions": predictions_ref(record_id, data).model_dump(),
        "time_s": {"pretrain": 60.0, "extract": 1.0, "evaluate": 2.0},
        "cost": {"params": 830000, "pretrain_hours": 0.0167, "samples_per_s": 250.0, "peak_mb": 410.0, "steps": 300},
        "env": {"platform": "Linux", "cpu": "made up", "device": "cpu"},
        "started": "2030-01-01T00:00:00Z", "finished": "2030-01-01T00:02:00Z",
    }
    for key, value in changes.items():
        target = raw
        *path, last = key.split("__")
        for part in path:
            target = target[part]
        target[last] = value
    raw["digests"]["config"] = ids.digest(raw["config"])
    record = Record.model_validate(raw)
    if not record.metrics:
        record = record.model_copy(update={"metrics": rescore(record, table)})
    return record, data


def fill(root: Path, *pairs: tuple[Record, bytes]) -> RecordStore:
    """A store under `root` that holds these records."""
    store = RecordStore(root).create()
    for record, data in pairs:
        store.write(record, data)
    return store
