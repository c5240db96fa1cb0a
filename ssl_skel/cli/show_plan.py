"""How `bench plan` and `bench run --dry-run` print a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ssl_skel.bench.cells import Plan, PretrainCell
    from ssl_skel.bench.estimate import Estimate


def show_plan(plan: Plan, earlier: Path, as_json: bool) -> None:
    """Print the cells of a plan, their resolved configurations and what they will cost.

    Args:
        plan: The plan.
        earlier: Output folder with earlier records; it need not exist.
        as_json: Print one JSON object instead.
    """
    from ssl_skel.bench.estimate import duration, estimate, total
    from ssl_skel.bench.store import RecordStore

    costs = estimate(plan, RecordStore(earlier).scan()[0])
    seconds, unknown = total(costs.values())
    if as_json:
        told = {"refused": [r.model_dump() for r in plan.refused], "missing": plan.missing,
                "warnings": list(plan.warnings), "estimated_s": {key: cost.seconds for key, cost in costs.items()}}
        click.echo(json.dumps({**plan.file_content(), **told}, indent=1))
        return
    click.echo(f"{plan.suite}: {len(plan.pretrainings)} pretrainings, {len(plan.evaluations)} evaluations")
    for cell in plan.pretrainings:
        _show_cell(plan, cell, costs)
    if plan.evaluations:
        known = [f"about {duration(seconds)}"] if seconds else []
        rest = [f"unknown for {unknown} of {len(costs)} cells"] if unknown else []
        click.echo(f"\nestimated cost, one cell after the other, from the records in {earlier}: "
                   + ("; ".join(known + rest) or "none"))
    for refusal in plan.refused:
        click.echo(f"\nrefused: {refusal.plugin} on {refusal.dataset}: {refusal.reason}")
    for reason in plan.missing.values():
        click.echo(f"\nmissing: {reason}")
    for warning in plan.warnings:
        click.echo(f"\nwarning: {warning}")


def _show_cell(plan: Plan, cell: PretrainCell, costs: dict[str, Estimate]) -> None:
    click.echo(f"\n{cell.id}  {cell.title}")
    click.echo(f"  config    {json.dumps(cell.config)}")
    click.echo(f"  backbone  {json.dumps(cell.backbone_config)}")
    click.echo(f"  train     {json.dumps(cell.train.model_dump(mode='json'))}")
    click.echo(f"  cost      {costs[cell.id].text}")
    for one in (e for e in plan.evaluations if e.pretrain_id == cell.id):
        click.echo(f"  {one.id}  {one.title}; cost {costs[one.id].text}")
