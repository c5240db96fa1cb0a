"""How far the last plan of an output folder has come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_skel.bench.outlook import outlook
from ssl_skel.bench.planfile import read_plan
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import DataMissing


def status_of(out: Path) -> dict[str, Any]:
    """Count the cells of the last plan by state.

    Args:
        out: Output folder.

    Returns:
        ``suite, planned, done, failed, missing, failures`` (id, status, title, message each), and what `outlook` says:
        ``pretrainings``, ``running``, ``eta_s``.

    Raises:
        DataMissing: If the folder holds no plan.
        BadRecord: If the plan is torn.
    """
    plan, store = read_plan(out), RecordStore(out)
    if plan is None:
        raise DataMissing(f"{out} holds no plan", "Run `ssl-skel bench run` first, or give --out.")
    ids = [cell.id for cell in plan.cells]
    done = {cell_id for cell_id in ids if store.has(cell_id)}
    sources = {cell.pretrain_id for cell in plan.cells}
    failures = [f for f in store.failures() if f.id in sources or (f.id in ids and f.id not in done)]
    broken = {f.id for f in failures}
    lost = [c.id for c in plan.cells if c.id not in done and (c.id in broken or c.pretrain_id in broken)]
    rest = outlook(out, plan, done, lost)
    return {"suite": plan.suite, "planned": len(ids), "done": len(done), "failed": len(lost),
            "missing": len(ids) - len(done) - len(lost), **rest,
            "failures": [{"id": f.id, "status": f.status, "stage": f.stage, "message": f.message,
                          "title": f"{f.cell.get('plugin', '?')} on {f.cell.get('dataset', '?')}"} for f in failures]}
