"""Derives the id of a record again from what it says, so that a record that was edited and sealed anew is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ssl_skel import ids
from ssl_skel.bench.cells import EvalCell, Origin, Preprocessing, PretrainCell
from ssl_skel.bench.record import Record
from ssl_skel.errors import BadRecord, SkelError
from ssl_skel.registry import discover

__all__ = ["check_ids"]


def check_ids(record: Record, card: dict[str, Any], path: Path) -> None:
    """Compare ids with what they are hashes of, and a record with the pretraining that it names.

    What is compared is what the record says against itself and its card; whoever forges predictions, scores, card and
    ids alike is found by evaluating again only (`bench verify --rerun`).

    Args:
        record: Checked otherwise.
        card: Of the pretraining, as read.
        path: Of the card.

    Raises:
        BadRecord: Naming what does not agree.
    """
    try:
        trained = PretrainCell.model_validate(card["cell"])
        core, world = record.versions["core"], card["world_size"]
        found = ids.short_id({**trained.identity(), "core": core})
        mine = _evaluation_id(record, core)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise BadRecord(f"record {record.id} or {path} lacks what ids are made of: {error}") from None
    if not found == trained.id == record.pretrain_id:
        raise BadRecord(f"{path} describes pretraining {found}, not {record.pretrain_id}: it was edited")
    if mine and mine != record.id:
        raise BadRecord(f"record {record.id} describes evaluation {mine}: it was edited, or stands under another's id")
    for name, (said, known) in _facts(record, trained, world).items():
        if said != known:
            raise BadRecord(f"record {record.id} says another {name} than {path}")


def _evaluation_id(record: Record, core: object) -> str:
    """The id that follows from a record; empty where code of an evaluator from outside is part of it."""
    key, config, joints = record.cell, record.config, record.config.get("joints")
    try:
        if not discover().get("evaluators", key.evaluator).shipped:
            return ""
    except SkelError:
        return ""
    origin = None if joints is None else Origin(  # of which the mapping alone is in an id
        dataset=key.dataset, split=key.split, layout=joints["to"], persons=1, joints=joints["version"])
    cell = EvalCell(
        pretrain_id=record.pretrain_id, plugin=key.plugin, backbone=key.backbone, dataset=key.dataset, split=key.split,
        seed=key.seed, evaluator=key.evaluator, evaluator_version=_number(record.versions["evaluator"]),
        evaluator_config=config["evaluator"], streams=tuple(key.streams.split("+")), fusion=key.fusion,
        frames=config["frames"], preprocessing=Preprocessing(**config["preprocessing"]),
        dataset_digest=record.digests.dataset, split_digest=record.digests.split, weights=config.get("weights", {}),
        origin=origin)
    return ids.short_id({**cell.identity(), "core": core})


def _number(version: object) -> int:
    if not isinstance(version, int):
        raise ValueError(f"version {version!r} is no number")
    return version


def _facts(record: Record, trained: PretrainCell, world: object) -> dict[str, tuple[object, object]]:
    """What a record repeats of its pretraining, as it says and as the card says."""
    key, config, data = record.cell, record.config, record.pretraining_data
    facts: dict[str, tuple[object, object]] = {
        "seed": (key.seed, trained.seed), "plugin": (key.plugin, trained.plugin),
        "backbone": (key.backbone, trained.backbone), "plugin digest": (record.digests.plugin, trained.plugin_digest),
        "plugin version": (record.versions.get("plugin"), trained.plugin_version),
        "backbone version": (record.versions.get("backbone"), trained.backbone_version),
        "task configuration": (config["task"], trained.config),
        "training configuration": (config["train"], trained.train.model_dump(mode="json")),
        "backbone configuration": (config["backbone"], trained.backbone_config),
        "precision": (config["precision"], trained.precision), "number of processes": (record.world_size, world),
    }
    if data is None or data.own:
        facts["dataset"] = (record.digests.dataset, trained.dataset_digest)
    return facts
