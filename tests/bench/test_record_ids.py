"""A record that was edited and sealed anew no longer fits its id, or the pretraining that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop
from ssl_skel import ids
from ssl_skel.bench.record import Record
from ssl_skel.bench.store import RecordStore, seal_of
from ssl_skel.bench.verify import verify_record
from ssl_skel.errors import BadRecord


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = Workshop(tmp_path_factory.mktemp("ran"))
    assert shop.run_here(shop.plan("tiny", evaluators=("knn",))) == 0
    return shop.out


@pytest.fixture
def store(ran: Path, tmp_path: Path) -> RecordStore:
    return RecordStore(Path(shutil.copytree(ran, tmp_path / "out")))


def reseal(store: RecordStore, edit: Callable[[dict[str, Any]], None]) -> Record:
    """Edit the one record, under another name if its id changes, and seal it as the suite does."""
    (path,) = store.root.glob("records/*/*/*.json")
    raw = json.loads(path.read_text())
    old = raw["id"]
    edit(raw)
    raw["digests"]["config"] = ids.digest(raw["config"])
    raw["predictions"]["path"] = f"predictions/{raw['id']}.csv"
    (store.root / "predictions" / f"{old}.csv").rename(store.root / raw["predictions"]["path"])
    raw["seal"] = seal_of(raw)
    path.unlink()
    path = path.with_name(f"{raw['id']}.json")
    path.write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n")
    return store.load(path)


def test_what_was_run_fits(store: RecordStore) -> None:
    (record,) = store.all()
    assert "ids" in verify_record(store, record, rescore=True)


@pytest.mark.parametrize(("edit", "what"), [
    (lambda raw: raw["config"]["evaluator"].update(k=3), "describes evaluation"),
    (lambda raw: raw["config"].update(frames=9), "describes evaluation"),
    (lambda raw: raw["cell"].update(seed=1), "describes evaluation"),
    (lambda raw: raw.update(id="0123456789abcdef"), "describes evaluation"),
    (lambda raw: raw["digests"].update(split="0" * 64), "describes evaluation"),
    (lambda raw: raw["config"]["train"].update(lr=0.123), "another training configuration"),
    (lambda raw: raw["config"]["task"].update(width=77), "another task configuration"),
    (lambda raw: raw["versions"].update(plugin=7), "another plugin version"),
    (lambda raw: raw["versions"].pop("core"), "lacks what ids are made of"),
], ids=["evaluator", "frames", "seed", "replayed", "split", "training", "task", "version", "core"])
def test_an_edit_that_was_sealed_anew_is_found(store: RecordStore, edit: Callable[[dict[str, Any]], None],
                                               what: str) -> None:
    record = reseal(store, edit)
    with pytest.raises(BadRecord, match=what):
        verify_record(store, record)


def test_one_run_is_not_two_seeds(store: RecordStore) -> None:
    """The record of seed 0 as seed 1, under the id that seed 1 would have: its pretraining is that of seed 0."""
    record = reseal(store, lambda raw: raw["cell"].update(seed=1))
    with pytest.raises(BadRecord) as found:
        verify_record(store, record)
    wanted = str(found.value).split("describes evaluation ")[1][:16]
    record = reseal(store, lambda raw: raw.update(id=wanted))
    with pytest.raises(BadRecord, match="another seed than"):
        verify_record(store, record)


def test_an_edited_card_is_found(store: RecordStore) -> None:
    (record,) = store.all()
    path = store.pretrain_folder(record.pretrain_id) / "card.json"
    card = json.loads(path.read_text())
    card["cell"]["seed"] = 1
    path.write_text(json.dumps(card))
    with pytest.raises(BadRecord, match="it was edited"):
        verify_record(store, record)


def test_a_record_without_its_pretraining_beside_others(store: RecordStore) -> None:
    (record,) = store.all()
    folder = store.pretrain_folder(record.pretrain_id)
    folder.rename(folder.with_name("0123456789abcdef"))
    with pytest.raises(BadRecord, match="is missing"):
        verify_record(store, record)
