"""A record that was edited and sealed anew no longer fits its id, or the pretraining that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from helpers.records import make_record
from helpers.tiny import Workshop
from ssl_skel import ids
from ssl_skel.bench.cells import PretrainCell
from ssl_skel.bench.record import Record, seal_of
from ssl_skel.bench.record_ids import counted_twice, evaluation_id
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.verify import verify_record
from ssl_skel.cli.board import board, verify
from ssl_skel.errors import OK, BadRecord, SkelError

Raw = dict[str, Any]
Edit = Callable[[Raw], None]
NOT_ITS_ID = "describes evaluation"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = Workshop(tmp_path_factory.mktemp("ran"))
    assert shop.run_here(shop.plan("tiny", evaluators=("knn",), settings=("train.epochs=1",))) == 0
    return shop.out


@pytest.fixture
def store(ran: Path, tmp_path: Path) -> RecordStore:
    return RecordStore(Path(shutil.copytree(ran, tmp_path / "out")))


def forge(store: RecordStore, edit: Edit, keep: bool = False) -> Raw:
    """Edit the one record and make all that has no key fit again: digest, predictions' place, file name, seal."""
    (path,) = store.root.glob("records/*/*/*.json")
    raw: Raw = json.loads(path.read_text())
    old = store.predictions_path(raw["id"])
    edit(raw)
    raw["digests"]["config"] = ids.digest(raw["config"])
    raw["predictions"]["path"] = f"predictions/{raw['id']}.csv"
    if not keep:
        path.unlink()
    new = store.predictions_path(raw["id"])
    if new != old:
        shutil.copyfile(old, new)
    raw["seal"] = seal_of(raw)
    path.with_name(f"{raw['id']}.json").write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n")
    return raw


def with_id(edit: Edit) -> Edit:
    """Edit, and derive the id of the evaluation as the suite does."""
    def edit_all(raw: Raw) -> None:
        edit(raw)
        raw["id"] = evaluation_id(Record.model_validate(raw))

    return edit_all


def refusals(store: RecordStore) -> list[str]:
    """The one line of each command, none of which may accept the folder."""
    said = []
    for command, *arguments in ((verify, "--all", "--rescore"), (board,), (board, "--check")):
        done = CliRunner().invoke(command, [*arguments, "--records", str(store.root)])
        assert done.exit_code != OK, (command.name, done.output)
        assert done.exception is None or isinstance(done.exception, (SystemExit, SkelError)), done.exception
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        said += lines
    return said


def test_what_was_run_fits(store: RecordStore) -> None:
    (record,) = store.all()
    assert {"id", "pretraining card"} <= set(verify_record(store, record, rescore=True))
    assert CliRunner().invoke(board, ["--records", str(store.root)]).exit_code == OK


EDITS = {
    "evaluator": (lambda raw: raw["config"]["evaluator"].update(k=3), NOT_ITS_ID),
    "frames": (lambda raw: raw["config"].update(frames=9), NOT_ITS_ID),
    "preprocessing": (lambda raw: raw["config"]["preprocessing"].update(version=9), NOT_ITS_ID),
    "seed": (lambda raw: raw["cell"].update(seed=1), NOT_ITS_ID),
    "replayed": (lambda raw: raw.update(id="0123456789abcdef"), NOT_ITS_ID),
    "split": (lambda raw: raw["digests"].update(split="0" * 64), NOT_ITS_ID),
    "streams": (lambda raw: raw["cell"].update(streams="other"), NOT_ITS_ID),
    "seed and id": (with_id(lambda raw: raw["cell"].update(seed=1)), "another seed than"),
    "dataset": (with_id(lambda raw: raw["digests"].update(dataset="0" * 64)), "another dataset digest than"),
    "training": (lambda raw: raw["config"]["train"].update(lr=0.123), "another training configuration"),
    "task": (lambda raw: raw["config"]["task"].update(width=77), "another task configuration"),
    "backbone": (lambda raw: raw["config"]["backbone"].update(width=77), "another backbone configuration"),
    "precision": (lambda raw: raw["config"].update(precision="bf16"), "another precision"),
    "version": (lambda raw: raw["versions"].update(plugin=7), "another plugin version"),
    "plugin": (lambda raw: raw["digests"].update(plugin="0" * 64), "another plugin digest"),
    "clips": (lambda raw: raw["pretraining_data"].update(clips="0" * 64), "another digest of the training clips"),
    "no core": (lambda raw: raw["versions"].pop("core"), "lacks what ids are made of"),
}


@pytest.mark.parametrize(("edit", "what"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_that_was_sealed_anew_is_refused(store: RecordStore, edit: Edit, what: str) -> None:
    forge(store, edit)
    assert all(what in line for line in refusals(store))


def test_a_replayed_record_is_refused_by_its_name_too(store: RecordStore) -> None:
    raw = forge(store, lambda raw: raw.update(id="0123456789abcdef"), keep=True)
    for name in (raw["id"], str(next(store.root.glob(f"records/*/*/{raw['id']}.json")))):
        done = CliRunner().invoke(verify, [name, "--records", str(store.root)])
        assert done.exit_code != OK
        assert NOT_ITS_ID in done.output
    assert not store.has(raw["id"])


def test_one_run_is_not_two_seeds(store: RecordStore) -> None:
    """Record and card of seed 0 stand as seed 1 beside the true ones, every id as the suite would derive it."""
    (record,) = store.all()
    folder = store.pretrain_folder(record.pretrain_id)
    card = json.loads((folder / "card.json").read_text())
    card["cell"]["seed"] = 1
    card["id"] = card["cell"]["id"] = PretrainCell.model_validate(card["cell"]).with_id().id
    twin = Path(shutil.copytree(folder, folder.with_name(card["id"])))
    (twin / "card.json").write_text(json.dumps(card))

    def as_seed_1(raw: Raw) -> None:
        raw["cell"]["seed"], raw["pretrain_id"] = 1, card["id"]

    forge(store, with_id(as_seed_1), keep=True)
    assert all("one run is counted as two seeds" in line for line in refusals(store))
    shutil.rmtree(folder.parent)  # records alone, as they may be shared
    assert all("one run is counted as two seeds" in line for line in refusals(store))


@pytest.mark.parametrize(("changes", "found"), [
    ({}, 1),
    ({"config__train": {"epochs": 0}}, 0),
    ({"config__train": {"epochs": 0}, "plugin": "random", "backbone": "raw"}, 0),
    ({"config__train": {"epochs": 0}, "plugin": "random", "backbone": "stgcn"}, 1),
    ({"config__train": {"epochs": 0}, "plugin": "random", "backbone": "someones-descriptors"}, 0),
])
def test_encoders_that_do_not_depend_on_the_seed_may_be_the_same(changes: Raw, found: int) -> None:
    made = [make_record(0.5, seed=seed, versions__core=1, **changes)[0] for seed in (0, 0, 1)]
    assert len(list(counted_twice(made))) == found
    assert not list(counted_twice(made[:2]))


def edit_card(store: RecordStore, edit: Edit) -> Path:
    (record,) = store.all()
    path = store.pretrain_folder(record.pretrain_id) / "card.json"
    card = json.loads(path.read_text())
    edit(card)
    path.write_text(json.dumps(card))
    return path


def test_an_edited_card_is_refused(store: RecordStore) -> None:
    edit_card(store, lambda card: card["cell"].update(seed=1))
    assert all("it was edited" in line for line in refusals(store))


@pytest.mark.parametrize(("edit", "what"), [
    (lambda card: card.update(encoders_sha256="0" * 64), "other encoders"),
    (lambda card: card.update(world_size=4), "another number of processes"),
    (lambda card: card.pop("cell"), "lacks what ids are made of"),
])
def test_a_card_that_may_have_been_trained_again_is_refused_by_verify(store: RecordStore, edit: Edit,
                                                                      what: str) -> None:
    """These change when a pretraining is repeated, before its evaluations are: the board can still be read."""
    (record,) = store.all()
    edit_card(store, edit)
    with pytest.raises(BadRecord, match=what):
        verify_record(store, record)
    assert store.all() == [record]


def test_a_record_that_hides_its_age_is_refused(store: RecordStore) -> None:
    forge(store, lambda raw: raw["digests"].update(core="0" * 64))
    (record,) = store.all()
    with pytest.raises(BadRecord, match="digest of the core"):
        verify_record(store, record)


def test_a_record_without_its_pretraining_beside_others_is_refused(store: RecordStore) -> None:
    (record,) = store.all()
    folder = store.pretrain_folder(record.pretrain_id)
    folder.rename(folder.with_name("0123456789abcdef"))
    with pytest.raises(BadRecord, match="is missing"):
        verify_record(store, record)
