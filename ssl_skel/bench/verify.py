"""Checks records against themselves: seal, place, predictions, scores, and the pretraining they came from."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from ssl_skel import fsio, ids
from ssl_skel.bench.cards import ENCODERS
from ssl_skel.bench.cells import PretrainCell
from ssl_skel.bench.predictions import check_scores
from ssl_skel.bench.record import Record
from ssl_skel.bench.record_ids import MAX_CARD_BYTES, check_own_id, check_pretraining
from ssl_skel.bench.staleness import core_digest
from ssl_skel.bench.store import ID, RecordStore
from ssl_skel.errors import BadRecord
from ssl_skel.jsonio import read_json

MAX_CURVE_BYTES = 1_000_000_000


def find_record(store: RecordStore, name: str) -> Record:
    """Read a record given by its id or by the path of its file.

    Raises:
        BadRecord: If there is none, or it does not agree with itself.
    """
    if ID.match(name):
        return store.read(name)
    path = Path(name)
    if not path.is_file():
        raise BadRecord(f"{name} is neither the id of a record nor a file")
    try:
        return store.load(store.root / path.absolute().relative_to(store.root.absolute()))
    except ValueError:
        raise BadRecord(f"{path} does not lie under {store.root}", "Give its folder with --records.") from None


def folder_of(name: str) -> Path | None:
    """Return the output folder that the file of a record lies in, by its path alone; None for anything else."""
    path = Path(name).absolute()
    return path.parents[3] if path.suffix == ".json" and len(path.parents) > 3 and path.parents[2].name == "records" \
        else None


def verify_record(store: RecordStore, record: Record, rescore: bool = False) -> list[str]:
    """Check a record that was read against its predictions, its id and its pretraining.

    What is compared is what was written; predictions that are forged together with their scores, or cards with what
    names them, are found by evaluating again only (`ssl_skel.bench.rerun`).

    Args:
        store: Where it is.
        record: From the store, which has checked seal and place.
        rescore: Compute the metrics again from the predictions.

    Returns:
        What was checked, in words.

    Raises:
        BadRecord: Naming what does not agree.
    """
    table = store.read_predictions(record)
    said = ["seal", "place", "predictions"]
    derived = check_own_id(record)
    if derived:
        said.append("id")
    card = store.pretrain_folder(record.pretrain_id) / "card.json"
    if card.is_file():
        _check_card(card, record, derived)
        said.append("pretraining card")
    elif any(card.parent.parent.glob("*/card.json")):
        raise BadRecord(f"{card} is missing, the pretraining of record {record.id}", "Restore it from git or a copy.")
    if rescore:
        said.append(f"scores ({', '.join(check_scores(record, table))})")
    return said


def _check_card(path: Path, record: Record, derived: bool) -> None:
    try:
        card = read_json(path, MAX_CARD_BYTES)
        sha, known, curves = card["encoders_sha256"], card["id"], card.get("curves_sha256", "")
        processes = card.get("world_size", 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRecord(f"{path} is torn: {error}") from None
    if known != record.pretrain_id or sha != record.digests.encoder:
        raise BadRecord(f"record {record.id} was computed from other encoders than {path} describes")
    trained = check_pretraining(record, card, path)
    if processes != record.world_size:
        raise BadRecord(f"record {record.id} says another number of processes than {path}")
    if derived:
        _check_core(record, trained)
    if curves:
        _check_curves(path.with_name("curves.jsonl"), curves)
    _check_weights(path.with_name(ENCODERS), sha)


@functools.lru_cache(4096)
def _digest(path: Path, stamp: int) -> str:
    """SHA-256 of weights, read once for all records of a pretraining."""
    return ids.file_sha256(path)


def _check_core(record: Record, trained: PretrainCell) -> None:
    """Check the digest that tells a stale record from a current one, as far as the core is the one of then."""
    if record.versions["core"] != ids.CORE_NUMERICS:
        return
    cell, joints = record.cell, record.config.get("joints")
    wanted = core_digest(cell.backbone, trained.backbone_version, cell.evaluator, int(record.versions["evaluator"]),
                         trained.preprocessing.version, (trained.backbone_code, ""), joints and joints["version"])
    if record.digests.core != wanted:
        raise BadRecord(f"record {record.id} says another digest of the core than its versions give")


def _check_weights(path: Path, sha256: str) -> None:
    """Check the weights where they are; committed records have none beside them."""
    if path.is_symlink():
        raise BadRecord(f"{path} is a link, which is not followed")
    if not path.is_file():
        return
    try:
        found = _digest(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise BadRecord(f"can't read {path}: {error.strerror}") from None
    if found != sha256:
        raise BadRecord(f"{path} is not what its card says: sha256 differs",
                        "Run the pretraining again with --rerun all, or restore it from a copy.")


def _check_curves(path: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(fsio.read_bounded(path, MAX_CURVE_BYTES)).hexdigest()
    except (OSError, ValueError) as error:
        raise BadRecord(f"can't read {path}: {getattr(error, 'strerror', None) or error}") from None
    if found != sha256:
        raise BadRecord(f"{path} is not what its card says: sha256 differs", "Restore it from git or a copy.")
