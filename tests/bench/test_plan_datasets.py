"""What a dataset reference stands for: one split, a group of splits, or an imported form of the data."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from helpers.records import make_record
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.catalog import dataset_names, get_card
from ssl_skel.errors import UnknownName
from ssl_skel.registry import discover
from ssl_skel.schema import DatasetName, DatasetRef


def missing(root: Path, *datasets: str) -> list[str]:
    """What a plan lacks where nothing is prepared: the splits that it would open."""
    return list(plan_of(Asked(names=["random"], datasets=datasets, device="cpu"), discover(), root).missing)


def test_a_group_is_taken_apart_into_its_splits(tmp_path):
    assert missing(tmp_path, "sbu/folds") == [f"sbu/fold{number}" for number in range(1, 6)]
    assert missing(tmp_path, "sbu/fold3", "sbu/folds")[:2] == ["sbu/fold3", "sbu/fold1"]
    twelve = missing(tmp_path, "uwa3d/xview")
    assert len(set(twelve)) == 12
    assert twelve[0] == "uwa3d/v12-v3"


def test_a_group_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'folds'"):
        missing(tmp_path, "sbu/fold")


@pytest.mark.parametrize("dataset", dataset_names())
def test_groups_name_splits_and_are_no_splits(dataset):
    card = get_card(dataset)
    assert not set(card.groups) & set(card.splits)
    for members in card.groups.values():
        assert len(set(members)) == len(members) > 1
        assert set(members) <= set(card.splits)


def test_an_imported_form_is_planned_and_recorded_under_its_own_name(tmp_path):
    assert missing(tmp_path, "ntu60+pyskl-pkl/xsub", "ntu60/xsub") == ["ntu60+pyskl-pkl/xsub", "ntu60/xsub"]
    store = RecordStore(tmp_path / "out")
    record, predictions = make_record(dataset="ntu60+pyskl-pkl", split="xsub")
    store.create().write(record, predictions)
    assert [one.cell.dataset for one in RecordStore(tmp_path / "out").all()] == ["ntu60+pyskl-pkl"]


@pytest.mark.parametrize("name", ["ntu60+", "+pyskl-pkl", "a+b+c", "ntu60+../x", "ntu60+A", "a b"])
def test_names_that_no_dataset_has(name):
    for kind, text in ((DatasetName, name), (DatasetRef, f"{name}/xsub")):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(text)
