"""``plan.json`` of an output folder: the suite and the cells that a run expects, for `status`, boards and views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ssl_skel import yamlio
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.record import CellId, CellKey, method_name
from ssl_skel.errors import BadRecord
from ssl_skel.fsio import write_atomic
from ssl_skel.jsonio import read_json

PLAN = "plan.json"
MAX_PLAN_BYTES = 50_000_000
_AGAIN = "Run the same command again; it writes the plan anew."


class PlannedCell(BaseModel):
    """One expected evaluation."""

    id: CellId
    pretrain_id: CellId
    cell: CellKey


class PlannedPretraining(BaseModel):
    """One expected pretraining.

    Attributes:
        raw: All that the file says of it, a `PretrainCell`.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: CellId
    plugin: str
    label: str = ""
    backbone: str
    dataset: str
    split: str
    seed: int
    raw: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _keep(cls, data: Any) -> Any:
        return {**data, "raw": data} if isinstance(data, dict) else data

    @property
    def name(self) -> str:
        """Plugin, and its label in brackets."""
        return method_name(self.plugin, self.label)

    @property
    def title(self) -> str:
        """What is trained on what."""
        return f"{self.name} ({self.backbone}) on {self.dataset}/{self.split}"


class PlanFile(BaseModel):
    """The part of ``plan.json`` that its readers need."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal[1] = Field(1, alias="schema")
    suite: str
    title: str = ""
    baseline: str = ""
    cells: tuple[PlannedCell, ...]
    pretrainings: tuple[PlannedPretraining, ...] = ()


def write_plan(root: Path, plan: Plan) -> None:
    """Write ``plan.json``, before anything runs.

    Raises:
        OutputError: If the folder can't be written.
    """
    write_atomic(root / PLAN, json.dumps(plan.file_content(), indent=1, sort_keys=True) + "\n")


def read_plan(root: Path) -> PlanFile | None:
    """Read the plan of an output folder; None where there is none.

    Raises:
        BadRecord: If it is torn, too large, or no plan.
    """
    path = root / PLAN
    try:
        return PlanFile.model_validate(read_json(path, MAX_PLAN_BYTES))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadRecord(f"{path} is torn: {yamlio.describe(error, PlanFile)}", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise BadRecord(f"{path} is torn: {error}", _AGAIN) from None
