"""Every split of NTU, PKU-MMD, UWA3D and SBU has the published size, on the names alone."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from ssl_skel.data.card import Index
from ssl_skel.data.catalog import get_card
from ssl_skel.data.datasets import ntu120, pku_mmd_1, pku_mmd_2, sbu
from ssl_skel.data.ntu_names import MISSING, NAME, SETUPS_60, SETUPS_120, read_names, recorded_names, usable_names
from ssl_skel.data.readers.pku import VIEWS
from ssl_skel.data.store import INDEX_DTYPE
from ssl_skel.errors import BadData

NAMES = Path(__file__).parents[3] / "shared" / "reference" / "names"


def ntu_index(names: list[str]) -> Index:
    fields = np.array([[int(value) for value in NAME.fullmatch(name).groups()] for name in names])
    index = np.zeros(len(names), INDEX_DTYPE)
    index["name"] = names
    for column, key in enumerate(("setup", "view", "subject", "repetition")):
        index[key] = fields[:, column]
    index["label"] = fields[:, 4] - 1
    return index


def video_index(names: list[str]) -> Index:
    """One row a video of PKU-MMD."""
    index = np.zeros(len(names), INDEX_DTYPE)
    index["name"] = [f"{name}-001" for name in names]
    index["subject"] = [int(name.split("-")[0][-4:]) if name[0] == "0" else int(name[4:6]) for name in names]
    index["view"] = [VIEWS.index(name[-1]) + 1 for name in names]
    return index


def sizes(dataset: str, split: str, index: Index) -> tuple[int, int]:
    parts = get_card(dataset).get_split(split).apply(index)
    assert 0 < parts.val.sum() < len(parts.train) / 5
    return len(parts.train), len(parts.test)


@pytest.fixture(scope="module")
def indexes():
    return {dataset: ntu_index(usable_names(dataset)) for dataset in ("ntu60", "ntu120")}


@pytest.mark.parametrize(("dataset", "split", "train", "test"), [
    ("ntu60", "xsub", 40_091, 16_487), ("ntu60", "xview", 37_646, 18_932),
    ("ntu120", "xsub", 63_026, 50_919), ("ntu120", "xset", 54_468, 59_477),
])
def test_ntu_splits_have_the_published_sizes(dataset, split, train, test, indexes):
    assert sizes(dataset, split, indexes[dataset]) == (train, test)
    assert get_card(dataset).get_split(split).expected == (train, test)


@pytest.mark.parametrize(("dataset", "setups", "split", "train", "test"), [
    ("ntu60", SETUPS_60, "xsub", 40_320, 16_560), ("ntu60", SETUPS_60, "xview", 37_920, 18_960),
    ("ntu120", SETUPS_120, "xsub", 63_360, 51_120), ("ntu120", SETUPS_120, "xset", 54_720, 59_760),
])
def test_sizes_before_the_missing_lists(dataset, setups, split, train, test):
    assert sizes(dataset, split, ntu_index(list(recorded_names(setups)))) == (train, test)


def test_ntu120_splits_restricted_to_ntu60_agree(indexes):
    small, large = indexes["ntu60"], indexes["ntu120"]
    old = np.isin(large["setup"], SETUPS_60)
    np.testing.assert_array_equal(large["name"][old], small["name"])
    theirs = get_card("ntu60").get_split("xsub").select(small)[0]
    np.testing.assert_array_equal(get_card("ntu120").get_split("xsub").select(large)[0][old], theirs)


def test_oneshot_tests_on_all_clips_of_twenty_classes_but_the_exemplars(indexes):
    index = indexes["ntu120"]
    split = get_card("ntu120").get_split("oneshot")
    parts = split.apply(index)
    assert split.is_complete(parts)
    novel = set(range(0, 120, 6))
    assert set(index["label"][parts.test].tolist()) == novel == set(index["label"][parts.support].tolist())
    assert set(index["label"][parts.train].tolist()) == set(range(120)) - novel
    assert len(parts.support) == 20
    assert not np.isin(parts.support, parts.test).any()
    assert not np.isin(parts.support, parts.train).any()
    assert len(parts.train) + len(parts.test) + 20 == len(index)
    assert ntu120.EXEMPLARS[0] == "S001C003P008R001A001"
    assert ntu120.EXEMPLARS[-1] == "S018C003P008R001A115"


def test_missing_lists():
    small, large = (read_names(MISSING[dataset]) for dataset in ("ntu60", "ntu120"))
    assert (len(set(small)), len(set(large))) == (302, 535)
    assert set(small) == {name for name in large if int(name[1:4]) in SETUPS_60}


@pytest.mark.real_data
def test_names_are_those_of_the_published_list():
    if not NAMES.is_dir():
        pytest.skip(f"no name lists in {NAMES}")
    listed = (NAMES / "ntu120_usable_samples.txt").read_text().split()
    assert usable_names("ntu120") == sorted(listed)


@pytest.mark.parametrize(("dataset", "module", "split", "train", "test"), [
    ("pku-mmd-1", pku_mmd_1, "xsub", 944, 132), ("pku-mmd-2", pku_mmd_2, "xsub", 775, 234),
    ("pku-mmd-2", pku_mmd_2, "xview", 671, 338),
])
def test_pku_splits_have_the_published_numbers_of_videos(dataset, module, split, train, test):
    assert sizes(dataset, split, video_index(module.video_names())) == (train, test)


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "module", "split", "file"), [
    ("pku-mmd-1", pku_mmd_1, "xsub", "pku1_cross_subject.txt"),
    ("pku-mmd-2", pku_mmd_2, "xsub", "pku2_cross_subject.txt"),
    ("pku-mmd-2", pku_mmd_2, "xview", "pku2_cross_view.txt"),
])
def test_pku_splits_are_the_official_lists(dataset, module, split, file):
    if not NAMES.is_dir():
        pytest.skip(f"no name lists in {NAMES}")
    names = module.video_names()
    lists = pku_mmd_1.parse_list((NAMES / file).read_text())
    masks = get_card(dataset).get_split(split).select(video_index(names))
    for mask, listed in zip(masks, lists):
        assert {name for name, inside in zip(names, mask) if inside} == set(listed)


def test_pku1_counts_of_clips():
    assert get_card("pku-mmd-1").get_split("xsub").expected == (18_841, 2_704)


def test_pku1_xview_claims_no_published_split_until_the_list_is_given(tmp_path, monkeypatch):
    split = get_card("pku-mmd-1").get_split("xview")
    assert not split.published
    assert "official list was not found" in split.description
    names = pku_mmd_1.video_names()
    listed = tmp_path / "cross-view.txt"
    right = [name for name in names if name[-1] == "R"]
    left = ", ".join(set(names) - set(right))
    listed.write_text(f"Training videos: \n{left}, \nValidataion videos: \n{','.join(right)},")
    monkeypatch.setenv(pku_mmd_1.XVIEW_LIST, str(listed))
    official = importlib.reload(pku_mmd_1).CARD.get_split("xview")
    monkeypatch.undo()
    assert not importlib.reload(pku_mmd_1).CARD.get_split("xview").published
    assert official.published
    parts = official.apply(video_index(names))
    assert (len(parts.train), len(parts.test)) == (717, 359)


@pytest.mark.parametrize("text", ["", "Training videos:\n0002-L\n", "Training videos:\n0002-L,\nValidation videos:\n\n",
                                  "Training videos:\n0002-L,\nValidation videos:\n0002-L",
                                  "Training videos:\n0002-L,\nValidation videos:\nA01N01-L"])
def test_pku1_xview_lists_that_are_refused(text, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(BadData):
        pku_mmd_1.official_xview(path)


def test_uwa3d_has_twelve_splits_of_two_training_views_and_one_other():
    index = np.zeros(40, INDEX_DTYPE)
    index["view"], index["subject"] = np.arange(40) % 4 + 1, np.arange(40) // 4 + 1
    splits = get_card("uwa3d").splits
    assert len(splits) == 12
    found = set()
    for split in splits.values():
        parts = split.apply(index)
        train, test = (frozenset(index["view"][part].tolist()) for part in (parts.train, parts.test))
        assert (len(train), len(test), len(train & test)) == (2, 1, 0)
        assert split.name == f"v{''.join(map(str, sorted(train)))}-v{min(test)}"
        found.add((train, test))
    assert len(found) == 12


def test_sbu_folds_test_every_pair_once():
    tested = sorted(pair for fold in sbu.FOLDS for pair in fold)
    assert tested == list(range(1, 22))
    assert sum(test for _, test in sbu.SIZES) == 282
    assert all(train + test == 282 for train, test in sbu.SIZES)
    for split, fold in zip(get_card("sbu").splits.values(), sbu.FOLDS):
        assert not set(split.held_out) & set(fold)


@pytest.mark.parametrize("dataset", ["ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2", "uwa3d", "sbu"])
def test_cards_are_complete(dataset):
    card = get_card(dataset)
    counts = {"ntu60": 60, "ntu120": 120, "pku-mmd-1": 51, "pku-mmd-2": 51, "uwa3d": 30, "sbu": 8}
    assert len(set(card.classes)) == len(card.classes) == counts[dataset]
    assert card.name == dataset
    assert all((card.source, card.licence, card.terms, card.citation, card.reader, card.title))
    assert all(split.held_out for split in card.splits.values())
