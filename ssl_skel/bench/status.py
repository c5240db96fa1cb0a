"""The plan file, and how far it has come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ssl_skel.bench.board.plans import MAX_PLAN_BYTES, PlannedCell
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.outlook import outlook
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import BadRecord, DataMissing
from ssl_skel.fsio import read_bounded, write_atomic

PLAN = "plan.json"
_TOLD = ("id", "plugin", "backbone", "dataset", "split", "seed")
"""What a pretraining of the plan is told by."""


def write_plan(store: RecordStore, plan: Plan) -> None:
    """Write ``plan.json``, before anything runs."""
    write_atomic(store.root / PLAN, json.dumps(plan.file_content(), indent=1, sort_keys=True) + "\n")


def read_plan(out: Path) -> dict[str, Any]:
    """Read ``plan.json`` of an output folder.

    Raises:
        DataMissing: If there is none.
        BadRecord: If it is torn.
    """
    path = out / PLAN
    if not path.is_file():
        raise DataMissing(f"{out} holds no plan", "Run `ssl-skel bench run` first, or give --out.")
    try:
        plan: dict[str, Any] = json.loads(read_bounded(path, MAX_PLAN_BYTES))
        cells = [PlannedCell.model_validate(cell).model_dump(mode="json") for cell in plan["cells"]]
        pretrainings = [{**cell, **{key: str(cell[key]) for key in _TOLD}} for cell in plan.get("pretrainings", [])]
        return {**plan, "suite": str(plan["suite"]), "cells": cells, "pretrainings": pretrainings}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadRecord(f"{path} is torn", "Run the same command again; it writes the plan anew.") from None


def status_of(out: Path) -> dict[str, Any]:
    """Count the cells of the last plan by state.

    Args:
        out: Output folder.

    Returns:
        ``suite, planned, done, failed, missing, failures`` (id, status, title, message each), and what `outlook` says:
        ``pretrainings``, ``running``, ``eta_s``.

    Raises:
        DataMissing: If the folder holds no plan.
    """
    plan, store = read_plan(out), RecordStore(out)
    ids = [cell["id"] for cell in plan["cells"]]
    done = {cell_id for cell_id in ids if store.has(cell_id)}
    sources = {cell["pretrain_id"] for cell in plan["cells"]}
    failures = [f for f in store.failures() if f.id in sources or (f.id in ids and f.id not in done)]
    broken = {f.id for f in failures}
    lost = [c for c in plan["cells"] if c["id"] not in done and (c["id"] in broken or c["pretrain_id"] in broken)]
    try:
        rest = outlook(out, plan, done, [cell["id"] for cell in lost])
    except (KeyError, TypeError, AttributeError):
        raise BadRecord(f"{out / PLAN} is torn", "Run the same command again; it writes the plan anew.") from None
    return {"suite": plan["suite"], "planned": len(ids), "done": len(done), "failed": len(lost),
            "missing": len(ids) - len(done) - len(lost), **rest,
            "failures": [{"id": f.id, "status": f.status, "stage": f.stage, "message": f.message,
                          "title": f"{f.cell.get('plugin', '?')} on {f.cell.get('dataset', '?')}"} for f in failures]}
