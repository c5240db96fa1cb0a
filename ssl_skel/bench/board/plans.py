"""Reading ``plan.json``: which cells a board waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_skel import fsio, yamlio
from ssl_skel.bench.record import CellId, CellKey
from ssl_skel.errors import BadRecord

MAX_PLAN_BYTES = 50_000_000


class PlannedCell(BaseModel):
    """One expected evaluation."""

    id: CellId
    pretrain_id: CellId
    cell: CellKey


class PlanFile(BaseModel):
    """The part of ``plan.json`` that a board needs."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal[1] = Field(1, alias="schema")
    suite: str
    title: str = ""
    baseline: str = ""
    cells: tuple[PlannedCell, ...]


def read_plan(root: Path) -> PlanFile | None:
    """Read the plan of an output folder; None where there is none.

    Raises:
        BadRecord: If it is torn, too large, or no plan.
    """
    path = root / "plan.json"
    try:
        return PlanFile.model_validate(json.loads(fsio.read_bounded(path, MAX_PLAN_BYTES)))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadRecord(f"{path}: {yamlio.describe(error, PlanFile)}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadRecord(f"{path} is no plan: {error}", "Remove it, or plan the run again.") from None
