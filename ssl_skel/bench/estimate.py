"""What a plan will cost, from what earlier records of the same work took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ssl_skel.bench.cells import EvalCell, Plan, PretrainCell
from ssl_skel.bench.record import Record


@dataclass(frozen=True)
class Estimate:
    """What one cell will take.

    Attributes:
        seconds: None where no earlier record says.
        runs: Earlier pretrainings or evaluations that it is the median of; 0 where the cell is done already or free.
    """

    seconds: float | None
    runs: int = 0

    @property
    def text(self) -> str:
        """For people."""
        if self.seconds is None:
            return "unknown"
        if not self.runs:
            return "none"
        return f"about {duration(self.seconds)}, from {self.runs} earlier run{'s' if self.runs > 1 else ''}"


def duration(seconds: float) -> str:
    """Seconds (one at least), minutes or hours with two digits that count."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "1 s"


def estimate(plan: Plan, records: Sequence[Record]) -> dict[str, Estimate]:
    """Estimate every cell of a plan.

    A pretraining takes as long for a clip as earlier ones of the same plugin, backbone and dataset did: those of the
    same configuration if there are any, else all. Another machine, another time.

    Args:
        plan: What is to be run.
        records: Earlier ones, of any suite.

    Returns:
        Cell id -> estimate; a cell whose result is among the records costs nothing.
    """
    done = {record.id for record in records} | {record.pretrain_id for record in records}
    backbones = {cell.id: cell.backbone for cell in plan.pretrainings}
    trained = {cell.id: _pretraining(cell, records) for cell in plan.pretrainings}
    tested = {cell.id: _evaluation(cell, backbones[cell.pretrain_id], records) for cell in plan.evaluations}
    return {key: Estimate(0.0) if key in done else found for key, found in {**trained, **tested}.items()}


def total(estimates: Iterable[Estimate]) -> tuple[float, int]:
    """Sum of the known seconds, and how many cells are unknown."""
    known = list(estimates)
    return sum(e.seconds or 0.0 for e in known), sum(e.seconds is None for e in known)


def _pretraining(cell: PretrainCell, records: Sequence[Record]) -> Estimate:
    if not cell.train.epochs:
        return Estimate(0.0)
    earlier = {r.pretrain_id: r for r in records
               if (r.cell.plugin, r.cell.backbone) == (cell.plugin, cell.backbone) and _pretrained_on(r) == cell.dataset
               and r.cost.get("steps")}
    like = [r for r in earlier.values() if r.config.get("task") == cell.config
            and r.config.get("backbone") == cell.backbone_config
            and r.config.get("train", {}).get("frames") == cell.train.frames] or list(earlier.values())
    if not like:
        return Estimate(None)
    rates = [r.time_s["pretrain"] / ((r.cost["steps"] or 1) * r.config["train"]["batch"]) for r in like]
    clips = cell.train.epochs * max(r.n.train for r in like)
    if cell.train.max_steps:
        clips = min(clips, cell.train.max_steps * cell.train.batch)
    return Estimate(clips * statistics.median(rates), len(like))


def _pretrained_on(record: Record) -> str:
    """Dataset that a record's encoder was pretrained on."""
    return record.cell.pretrained_on.partition("/")[0] or record.cell.dataset


def _evaluation(cell: EvalCell, backbone: str, records: Sequence[Record]) -> Estimate:
    times = [r.time_s.get("extract", 0.0) + r.time_s["evaluate"] for r in records
             if (r.cell.plugin, r.cell.backbone, r.cell.dataset, r.cell.evaluator)
             == (cell.plugin, backbone, cell.dataset, cell.evaluator)]
    return Estimate(statistics.median(times), len(times)) if times else Estimate(None)
