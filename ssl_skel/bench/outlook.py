"""What is at work on the plan of an output folder, where, and how long the rest will take."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

from ssl_skel.bench.cards import read_card
from ssl_skel.bench.holders import Holder, held
from ssl_skel.bench.planfile import PlanFile, PlannedCell, PlannedPretraining
from ssl_skel.bench.record import method_name
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import SkelError

_TAIL_BYTES = 4096


@dataclass(frozen=True)
class _Work:
    """One cell of a plan, pretraining or evaluation: how alike cells are found, and its line for people."""

    id: str
    kind: str
    like: str
    title: str


def outlook(out: Path, plan: PlanFile, done: Iterable[str], lost: Iterable[str]) -> dict[str, Any]:
    """Say what runs, and when the plan will be finished at this pace.

    Args:
        out: Output folder.
        plan: Its plan.
        done: Ids of evaluations with a record.
        lost: Ids of evaluations that failed, or whose pretraining did.

    Returns:
        ``pretrainings`` (``planned``, ``done``), ``running`` (``id, title, kind, where, seconds, step`` each) and
        ``eta_s``, None where no cell of some kind has been finished yet.
    """
    over = {*done, *lost}
    evaluations = [_evaluation(cell) for cell in plan.cells]
    sources = {cell.pretrain_id for cell in plan.cells if cell.id not in over}
    pretrainings = [_pretraining(cell) for cell in plan.pretrainings]
    spans = _spans(RecordStore(out), pretrainings, evaluations, set(done))
    running = _running(out, held(out), [*pretrainings, *evaluations])
    waiting = [work for work in pretrainings if work.id in sources and work.id not in spans]
    waiting += [work for work in evaluations if work.id not in over]
    finished = sum(work.id in spans for work in pretrainings)
    return {"pretrainings": {"planned": len(pretrainings), "done": finished}, "running": running,
            "eta_s": _eta(waiting, running, [*pretrainings, *evaluations], spans)}


def _pretraining(cell: PlannedPretraining) -> _Work:
    return _Work(cell.id, "pretrain", f"{cell.name} on {cell.dataset}", f"{cell.title}, seed {cell.seed}")


def _evaluation(planned: PlannedCell) -> _Work:
    cell = planned.cell
    name = method_name(cell.plugin, cell.label)
    title = f"{cell.evaluator} of {name} {cell.streams} on {cell.dataset}/{cell.split}, seed {cell.seed}"
    return _Work(planned.id, "evaluate", f"{cell.evaluator} on {cell.dataset}", title)


def _spans(store: RecordStore, pretrainings: list[_Work], evaluations: list[_Work],
           done: set[str]) -> dict[str, float]:
    """Seconds that the finished cells took."""
    found = {}
    for work in pretrainings:
        try:
            card = read_card(store.pretrain_folder(work.id))
            found[work.id] = _seconds(card.started, card.finished)
        except (SkelError, ValueError):
            continue
    wanted = {work.id for work in evaluations if work.id in done}
    for record in store.scan()[0]:
        if record.id in wanted:
            found[record.id] = _seconds(record.started, record.finished)
    return found


def _seconds(started: str, finished: str) -> float:
    try:
        return max(0.0, (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())
    except (ValueError, TypeError):  # a stranger's record
        return 0.0


def _running(out: Path, holders: Mapping[str, Holder], works: list[_Work]) -> list[dict[str, Any]]:
    rows = []
    for work in works:
        if (holder := holders.get(work.id)) is None:
            continue
        step = _reached(out / "pretrain" / work.id) if work.kind == "pretrain" else None
        seconds = None if holder.since is None else max(0.0, time.time() - holder.since)
        rows.append({"id": work.id, "kind": work.kind, "title": work.title, "where": f"{holder.host}:{holder.pid}",
                     "seconds": seconds, "step": step})
    return rows


def _reached(folder: Path) -> int | None:
    """Step that a pretraining has noted last."""
    try:
        with (folder / "curves.jsonl").open("rb") as handle:
            handle.seek(max(0, handle.seek(0, 2) - _TAIL_BYTES))
            noted = json.loads(handle.read().splitlines()[-1])
        return int(noted["step"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _eta(waiting: list[_Work], running: list[dict[str, Any]], works: list[_Work],
         spans: Mapping[str, float]) -> float | None:
    """Expected seconds of what is left, divided among the processes that are at work now."""
    by_like: dict[tuple[str, str], list[float]] = {}
    for work in works:
        if work.id in spans:
            for like in (work.like, ""):
                by_like.setdefault((work.kind, like), []).append(spans[work.id])
    at_work = {row["id"]: row["seconds"] or 0.0 for row in running}
    left = 0.0
    for work in waiting:
        basis = by_like.get((work.kind, work.like)) or by_like.get((work.kind, ""))
        if basis is None:
            return None
        left += max(0.0, mean(basis) - at_work.get(work.id, 0.0))
    return left / max(1, len(running))
