"""The card of a finished pretraining, ``pretrain/<id>/card.json``: what was trained, what it cost, which weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ssl_skel.bench.cells import PretrainCell
from ssl_skel.bench.record import CellId, Sha256
from ssl_skel.errors import BadCard, BadRecord, DataMissing, SkelError
from ssl_skel.fsio import write_atomic
from ssl_skel.ids import file_sha256
from ssl_skel.jsonio import read_json
from ssl_skel.schema import Model
from ssl_skel.yamlio import validate

FILE = "card.json"
ENCODERS = "encoders.safetensors"
_MAX_BYTES = 1_000_000
_REDO = "Run the pretraining again with --rerun all."


class PretrainingCard(Model):
    """What is known of a finished pretraining.

    Attributes:
        cost: ``params``, ``params_pretraining``, ``pretrain_s``, ``samples_per_s``, ``peak_mb``, ``steps``, ``loss``,
            ``joules`` (None where not measured), ``flops/<encoder>`` of encoding one clip.
        world_size: Processes that trained together.
        curves_sha256: Of ``curves.jsonl`` beside the card; empty where nothing was trained, and in older cards.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    id: CellId
    cell: PretrainCell
    encoders_sha256: Sha256
    cost: dict[str, float | None]
    env: dict[str, Any]
    started: str
    finished: str
    world_size: int = Field(1, ge=1)
    curves_sha256: Sha256 = ""


def write_card(folder: Path, card: PretrainingCard) -> None:
    """Write the card; the pretraining counts as finished from then on.

    Raises:
        OutputError: If the folder can't be written.
    """
    raw = card.model_dump(mode="json", by_alias=True)
    write_atomic(folder / FILE, json.dumps(raw, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_card(folder: Path) -> PretrainingCard:
    """Read the card of the pretraining in `folder`.

    Raises:
        DataMissing: If there is none.
        BadRecord: If it is torn or edited, or belongs to another pretraining.
    """
    path = folder / FILE
    try:
        raw = read_json(path, _MAX_BYTES)
    except FileNotFoundError:
        raise DataMissing(f"{path} is missing", _REDO) from None
    except (OSError, ValueError) as error:
        raise BadRecord(f"can't read {path}: {error}", _REDO) from None
    try:
        card = validate(PretrainingCard, raw, str(path))
    except BadCard as error:
        raise BadRecord(error.what, _REDO) from None
    try:
        own = card.cell.with_id().id
    except ValueError as error:  # a text that has no place in an id
        raise BadRecord(f"can't read {path}: {error}", _REDO) from None
    if not card.id == card.cell.id == own == folder.name:
        raise BadRecord(f"{path} is not the card of {folder.name}", _REDO)
    return card


def is_pretrained(folder: Path) -> bool:
    """Whether `folder` holds a finished pretraining: a valid card, and the weights that it names."""
    try:
        return file_sha256(folder / ENCODERS) == read_card(folder).encoders_sha256
    except (SkelError, OSError):
        return False
