"""Repeats the evaluation of a record from its encoders, in a folder of its own, and compares what comes out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssl_skel.api import Unit
from ssl_skel.bench import cards
from ssl_skel.bench.cards import PretrainingCard, read_card
from ssl_skel.bench.cells import EvalCell, Origin, Preprocessing
from ssl_skel.bench.record import Record
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import DataMissing, DigestMismatch, NotReproduced
from ssl_skel.fsio import make_folder
from ssl_skel.ids import file_sha256
from ssl_skel.registry import Catalogue, discover


@dataclass(frozen=True)
class Where:
    """What a rerun needs besides the record.

    Attributes:
        encoders: Output folder that holds ``pretrain/<id>/`` with its weights.
        data_root: Folder of the prepared datasets.
        plugins: As with ``--plugins``.
        device: Where to compute.
        tolerance: Largest difference of a metric, as a fraction, that is still the same number.
    """

    encoders: Path
    data_root: Path
    plugins: tuple[str, ...] = ()
    device: str = "auto"
    tolerance: float = 0.0


def rerun(store: RecordStore, record: Record, where: Where) -> str:
    """Evaluate again, features and all, and compare with the record.

    Args:
        store: Where the record is.
        record: From it.
        where: Encoders, data, device.

    Returns:
        What was found, in words.

    Raises:
        NotReproduced: If a metric differs by more than the tolerance; says how, and what of the environment does.
        SkelError: If the cell can't be run here: weights, data or plugin missing, or not those of the record.
    """
    folder = RecordStore(where.encoders).pretrain_folder(record.pretrain_id)
    if not (folder / cards.ENCODERS).is_file():
        raise DataMissing(f"{folder} holds no weights, without which record {record.id} can't be evaluated again",
                          "Name the output folder that has them with --encoders, or pretrain again.")
    card, catalogue = read_card(folder), discover(where.plugins)
    if card.encoders_sha256 != record.digests.encoder:
        raise DigestMismatch(f"{folder} holds other encoders than record {record.id} was computed from",
                             "Name the right folder with --encoders.")
    if file_sha256(folder / cards.ENCODERS) != card.encoders_sha256:
        raise DigestMismatch(f"{folder / cards.ENCODERS} is not what its card says: its sha256 differs",
                             "Run the pretraining again with --rerun all.")
    cell = cell_of(record, card, catalogue)
    with tempfile.TemporaryDirectory(prefix="ssl-skel-rerun-") as place:
        _evaluate(cell, folder, Path(place), record, where)
        fresh = RecordStore(Path(place))
        return _compare(store, record, fresh, fresh.read(record.id), where.tolerance)


def cell_of(record: Record, card: PretrainingCard, catalogue: Catalogue) -> EvalCell:
    """The evaluation that a record is of, rebuilt.

    Raises:
        DigestMismatch: If it is another one today: core, evaluator or its code have changed.
    """
    key, config, data = record.cell, record.config, record.pretraining_data
    origin = None
    if data is not None and not data.own:
        persons = catalogue.load("datasets", card.cell.dataset.partition("+")[0]).get_layout().persons
        origin = Origin(dataset=card.cell.dataset, split=card.cell.split, layout=data.layout,
                        persons=persons, joints=config.get("joints", {}).get("version"))
    entry = catalogue.get("evaluators", key.evaluator)
    cell = EvalCell(
        pretrain_id=record.pretrain_id, plugin=key.plugin, label=key.label, backbone=key.backbone, dataset=key.dataset,
        split=key.split, seed=key.seed, evaluator=key.evaluator, evaluator_version=entry.load().version,
        evaluator_config=config["evaluator"], streams=tuple(key.streams.split("+")), fusion=key.fusion,
        frames=config["frames"], preprocessing=Preprocessing(**config["preprocessing"]),
        dataset_digest=record.digests.dataset, split_digest=record.digests.split,
        evaluator_code=entry.outside_code(), weights=config.get("weights", {}), origin=origin).with_id()
    if cell.id != record.id:
        now, then = cell.evaluator_version, record.versions.get("evaluator")
        how = f": {key.evaluator} is version {now}, was {then}" if now != then else ""
        raise DigestMismatch(f"record {record.id} is stale, its evaluation is another one today{how}",
                             "Check out the version that made it; its `reproduce` lines say how.")
    return cell


def _evaluate(cell: EvalCell, source: Path, out: Path, record: Record, where: Where) -> None:
    from ssl_skel.bench.cell import run_evaluation

    target = make_folder(out, "pretrain", cell.pretrain_id)
    for name in (cards.FILE, cards.ENCODERS):
        shutil.copyfile(source / name, target / name)
    options = RunOptions(out=out, data_root=where.data_root, plugins=where.plugins, device=where.device)
    unit = Unit(cell.id, "evaluate", cell.model_dump(mode="json"), options.for_units(record.suite))
    run_evaluation(unit, lambda event: None)


def _compare(store: RecordStore, old: Record, fresh: RecordStore, new: Record, tolerance: float) -> str:
    shift = {name: abs(new.metrics.get(name, float("inf")) - value) for name, value in old.metrics.items()}
    before, after = store.read_predictions(old), fresh.read_predictions(new)
    flipped = int((before.top[:, 0] != after.top[:, 0]).sum())
    worst = max(shift, key=lambda name: shift[name])
    same = old.predictions.sha256 == new.predictions.sha256
    if shift[worst] > tolerance or shift.keys() != new.metrics.keys():
        differs = "; ".join(_environment(old, new)) or "nothing that the record names"
        raise NotReproduced(
            f"record {old.id} is not reproduced: {worst} is {new.metrics.get(worst)}, was {old.metrics[worst]}; "
            f"{flipped} of {len(after)} clips are predicted differently",
            f"What differs here: {differs}. Other machines round differently; --tolerance allows for that.")
    return "predictions bit for bit" if same else f"metrics, with {flipped} of {len(after)} clips predicted differently"


def _environment(old: Record, new: Record) -> Iterator[str]:
    """What of the environment differs, so that a rounding can be told from a fault."""
    then, now = old.env.get("packages"), new.env.get("packages")
    if isinstance(then, dict) and isinstance(now, dict):
        yield from (f"{name} {then.get(name)} -> {now.get(name)}" for name in sorted({*then, *now})
                    if then.get(name) != now.get(name))
    for key in ("python", "device", "device_name", "threads"):
        if old.env.get(key) != new.env.get(key):
            yield f"{key} {old.env.get(key)} -> {new.env.get(key)}"
