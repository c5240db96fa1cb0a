"""Derives ids again from what records and cards say: seals have no key, so whoever edits a record can seal it anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ssl_skel import ids
from ssl_skel.bench.cells import EvalCell, Origin, Preprocessing, PretrainCell
from ssl_skel.bench.record import Record
from ssl_skel.errors import BadRecord, SkelError
from ssl_skel.jsonio import read_json
from ssl_skel.registry import discover

__all__ = ["Cards", "check_own_id", "check_pretraining", "counted_twice", "evaluation_id"]

MAX_CARD_BYTES = 10_000_000
_RESTORE = "Restore it from git, or remove it and run again."


def check_own_id(record: Record) -> bool:
    """Compare the id of a record with the one that its content gives.

    Returns:
        Whether it could be derived: not without the version of the core, which made-up records lack, nor where code
        of an evaluator that the suite does not ship is part of it.

    Raises:
        BadRecord: If it is another one, or something that it is made of is missing.
    """
    if "core" not in record.versions or not _is_shipped("evaluators", record.cell.evaluator):
        return False
    try:
        found = evaluation_id(record)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"record {record.id} lacks what its id is made of: {error}", _RESTORE) from None
    if found != record.id:
        raise BadRecord(f"record {record.id} describes evaluation {found}: it was edited, or stands under another's id",
                        _RESTORE)
    return True


def evaluation_id(record: Record) -> str:
    """The id that the content of a record gives, under the core of then.

    Raises:
        KeyError: If something that it is made of is missing.
        TypeError: If it is of another shape.
        ValueError: If a value is none that a cell can have.
    """
    return ids.short_id({**_evaluation(record).identity(), "core": record.versions["core"]})


def check_pretraining(record: Record, card: dict[str, Any], path: Path) -> PretrainCell:
    """Compare the id of a pretraining with the one that its card gives, and the card with a record that names it.

    Args:
        record: The record.
        card: Of its pretraining, as read.
        path: Of the card.

    Returns:
        What was pretrained.

    Raises:
        BadRecord: Naming what does not agree.
    """
    try:
        cell = PretrainCell.model_validate(card["cell"])
        found = ids.short_id({**cell.identity(), "core": record.versions["core"]})
        facts = list(_facts(record, cell))
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"record {record.id} or {path} lacks what ids are made of: {error}", _RESTORE) from None
    if not found == cell.id == record.pretrain_id:
        raise BadRecord(f"{path} describes pretraining {found}, not {record.pretrain_id}: it was edited", _RESTORE)
    for name, said, known in facts:
        if said != known:
            raise BadRecord(f"record {record.id} says another {name} than {path}", _RESTORE)
    return cell


class Cards:
    """Cards of the pretrainings of an output folder, each read once.

    Args:
        folder: That holds ``<id>/card.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._known = folder, dict[str, dict[str, Any] | None]()

    def check(self, record: Record) -> None:
        """`check_pretraining`, where the card is here; one that is missing or torn is `bench verify`'s to tell.

        Raises:
            BadRecord: Naming what does not agree.
        """
        name = record.pretrain_id
        if name not in self._known:
            self._known[name] = self._read(name)
        card = self._known[name]
        if card is not None:
            check_pretraining(record, card, self.folder / name / "card.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            card = read_json(self.folder / name / "card.json", MAX_CARD_BYTES)
        except (OSError, ValueError):
            return None
        return card if isinstance(card, dict) and "cell" in card else None


def counted_twice(records: Iterable[Record]) -> Iterator[BadRecord]:
    """Find records of several seeds whose encoders are the same: one run that is counted as several."""
    first: dict[str, Record] = {}
    for record in records:
        if "core" not in record.versions or not _depends_on_seed(record):
            continue
        other = first.setdefault(record.digests.encoder, record)
        if other.cell.seed != record.cell.seed:
            yield BadRecord(
                f"records {other.id} (seed {other.cell.seed}) and {record.id} (seed {record.cell.seed}) have the same "
                "encoders: one run is counted as two seeds", "Remove the one that was not run.")


def _depends_on_seed(record: Record) -> bool:
    """Whether encoders were trained or drawn; given weights and the raw coordinates are the same under any seed."""
    train, cell = record.config.get("train"), record.cell
    if isinstance(train, dict) and train.get("epochs"):
        return True
    return cell.plugin == "random" and cell.backbone != "raw" and _is_shipped("backbones", cell.backbone)


@cache
def _is_shipped(kind: str, name: str) -> bool:
    try:
        return discover().get(kind, name).shipped
    except SkelError:
        return False


def _evaluation(record: Record) -> EvalCell:
    """The cell that a record is of."""
    key, config, joints = record.cell, record.config, record.config.get("joints")
    origin = None if joints is None else Origin(  # of which the mapping alone is in an id
        dataset=key.dataset, split=key.split, layout=joints["to"], persons=1, joints=joints["version"])
    return EvalCell(
        pretrain_id=record.pretrain_id, plugin=key.plugin, backbone=key.backbone, dataset=key.dataset, split=key.split,
        seed=key.seed, evaluator=key.evaluator, evaluator_version=_number(record.versions["evaluator"]),
        evaluator_config=config["evaluator"], streams=tuple(key.streams.split("+")), fusion=key.fusion,
        frames=config["frames"], preprocessing=Preprocessing(**config["preprocessing"]),
        dataset_digest=record.digests.dataset, split_digest=record.digests.split, weights=config.get("weights", {}),
        origin=origin)


def _number(version: object) -> int:
    if not isinstance(version, int):
        raise ValueError(f"version {version!r} is no number")
    return version


def _facts(record: Record, trained: PretrainCell) -> Iterator[tuple[str, object, object]]:
    """What a record repeats of its pretraining: name, as the record says, as the card says.

    The card's label and split are left out: pretrainings are shared by labels, and by splits of one training part.
    """
    key, config, digests, data = record.cell, record.config, record.digests, record.pretraining_data
    yield "seed", key.seed, trained.seed
    yield "plugin", key.plugin, trained.plugin
    yield "backbone", key.backbone, trained.backbone
    yield "plugin digest", digests.plugin, trained.plugin_digest
    yield "plugin version", record.versions["plugin"], trained.plugin_version
    yield "backbone version", record.versions["backbone"], trained.backbone_version
    yield "task configuration", config["task"], trained.config
    yield "training configuration", config["train"], trained.train.model_dump(mode="json")
    yield "backbone configuration", config["backbone"], trained.backbone_config
    yield "preprocessing", config["preprocessing"], trained.preprocessing.model_dump(mode="json")
    yield "precision", config["precision"], trained.precision
    if data is None or data.own:
        yield "dataset", key.pretrained_on.partition("/")[0] or key.dataset, trained.dataset
        yield "dataset digest", digests.dataset, trained.dataset_digest
    else:
        yield "pretraining dataset", key.pretrained_on.partition("/")[0], trained.dataset
    if data is not None:
        yield "pretraining dataset", data.data.partition("/")[0], trained.dataset
        yield "digest of the pretraining dataset", data.dataset, trained.dataset_digest
        yield "digest of the training clips", data.clips, trained.train_digest
