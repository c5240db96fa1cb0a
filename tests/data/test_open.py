"""Splits, digests, and the firewall around pretraining."""

import dataclasses
import gc
import types

import numpy as np
import pytest
import torch

from ssl_skel.data.card import DatasetCard, Split, by_name, names_digest
from ssl_skel.data.catalog import dataset_names
from ssl_skel.data.dataset import card_of, default_root
from ssl_skel.data.open import open_dataset, open_split
from ssl_skel.errors import BadData, DataMissing, UnknownName


@pytest.fixture(scope="module")
def view():
    return open_split("synthetic", "xsub")


def test_parts_of_a_split(view):
    assert (len(view.train), len(view.test), view.num_classes) == (336, 144, 8)
    assert not set(view.train.names) & set(view.test.names)
    assert not set(view.train.subjects.tolist()) & set(view.test.subjects.tolist())
    assert set(view.train.subjects[view.val].tolist()) == {2, 7}
    assert view.layout.num_joints == 20
    index = view.dataset.store.index
    assert view.train.labels.tolist() == index["label"][view.train.positions].tolist()
    assert [name.encode() for name in view.test.names] == index["name"][view.test.positions].tolist()


def test_clips_stand_in_the_order_of_their_names(view):
    batch = view.test.clips.batch(torch.tensor([5]))
    clip = view.dataset.store.clip(int(view.test.positions[5]))
    frame = clip.xyz.shape[1] // 2
    moved = clip.xyz[0, frame, 3] - clip.xyz[0, frame, 4]
    near = (batch.xyz[0, 0, :, 3] - batch.xyz[0, 0, :, 4]).numpy()
    assert np.abs(near - moved).sum(1).min() < 0.2


def reachable(root):
    """Every object that can be reached from `root` by attributes, items and closures."""
    seen, todo = {}, [root]
    while todo:
        found = todo.pop()
        if id(found) in seen or isinstance(found, (type, types.ModuleType)):
            continue
        seen[id(found)] = found
        if isinstance(found, types.FunctionType):
            todo += [cell.cell_contents for cell in found.__closure__ or ()]
        else:
            todo += gc.get_referents(found)
    return list(seen.values())


@pytest.mark.parametrize("budget", [10**9, 0], ids=["on the device", "in the memory map"])
def test_pretraining_reaches_no_label_no_name_no_index(budget):
    view = open_split("synthetic", "xsub", budget=budget)
    data = view.pretraining()
    assert len(data) == 336
    labels, names = view.train.labels, set(view.train.names + view.test.names)
    for found in reachable(data):
        assert found is not view
        assert not isinstance(found, str) or found not in names
        if isinstance(found, np.ndarray):
            assert found.dtype.names is None, "a structured array (index or tracks) is in reach"
            assert found.shape != labels.shape or not np.array_equal(found, labels.numpy())
        if isinstance(found, torch.Tensor):
            assert found.shape != labels.shape or not torch.equal(found.cpu().long(), labels)


def test_the_search_finds_what_is_there(view):
    found = {id(thing) for thing in reachable([lambda: view.train])}
    assert {id(view.train.labels), id(view.train.names), id(view.dataset.store.index)} <= found


def test_pretraining_holds_no_test_clip():
    view = open_split("synthetic", "xsub")
    tensors = [found for found in reachable(view.pretraining()) if isinstance(found, torch.Tensor) and found.dim() == 3]
    rows = max(tensors, key=lambda found: found.shape[1] * len(found) if found.shape[2] == 3 else 0)
    frames = view.dataset.store.index["frames"]
    assert len(rows) == frames[view.train.positions].sum() + 1
    assert "clips" not in view.test.__dict__, "test clips were loaded"


def test_a_batch_has_no_label(view):
    fields = {field.name for field in dataclasses.fields(view.pretraining().clips.batch(torch.tensor([0])))}
    assert fields == {"xyz", "valid", "index", "layout"}


def test_digests(view):
    names = view.train.names
    val = [name for name, held in zip(names, view.val) if held]
    encoded = [[name.encode() for name in group] for group in (names, val, view.test.names)]
    assert view.split_digest == names_digest(*encoded)
    assert view.train_digest == names_digest(encoded[0])
    again = open_split("synthetic", "xsub", preprocessing="per-body")
    assert again.split_digest == view.split_digest
    assert again.dataset_digest != view.dataset_digest
    assert again.pretraining().digest != view.pretraining().digest
    other = open_split("synthetic", "xview")
    assert other.dataset_digest == view.dataset_digest
    assert other.train_digest != view.train_digest


def test_groups_of_names_are_told_apart():
    assert len({names_digest([b"a", b"b"]), names_digest([b"a"], [b"b"]), names_digest([b"ab"]),
                names_digest([], [b"a", b"b"])}) == 4


def _where(column, values):
    return lambda index: (~np.isin(index[column], values), np.isin(index[column], values))


def test_splits_with_one_training_part_share_a_pretraining():
    card = card_of("synthetic")

    def smaller(index):
        test = np.isin(index["subject"], (3, 6, 9))
        return ~test, test & (index["label"] != 1)

    card = dataclasses.replace(card, splits=by_name(card.splits["xsub"], Split("clean", "", smaller, (2, 7))))
    full, clean = (open_split("synthetic", name, card=card) for name in ("xsub", "clean"))
    assert full.train_digest == clean.train_digest
    assert full.pretraining().digest == clean.pretraining().digest
    assert full.split_digest != clean.split_digest


def test_an_incomplete_dataset_is_refused_unless_asked_for():
    card = card_of("synthetic")
    split = dataclasses.replace(card.splits["xsub"], expected=(337, 144))
    card = dataclasses.replace(card, splits=by_name(split))
    with pytest.raises(BadData, match="336/144 clips, expected 337/144"):
        open_split("synthetic", "xsub", card=card)
    assert len(open_split("synthetic", "xsub", card=card, incomplete=True).train) == 336


def test_bad_splits_are_refused(view):
    index = view.dataset.store.index
    with pytest.raises(BadData, match="480 training and 0 test"):
        Split("s", "", _where("subject", ()), ()).apply(index)
    both = Split("s", "", lambda index: (index["view"] > 0, index["view"] == 3), ())
    with pytest.raises(BadData, match="both training and test"):
        both.apply(index)


def test_support_of_a_one_shot_split(view):
    split = Split("s", "", _where("subject", (3,)), (), support=lambda index: index["label"] == 7)
    parts = split.apply(view.dataset.store.index)
    assert len(parts.support) == 60


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownName, match="nw-ucla"):
        open_split("nw-ucl", "v3", tmp_path)
    with pytest.raises(UnknownName, match="xsub"):
        open_split("synthetic", "xsubj", tmp_path)
    with pytest.raises(UnknownName, match="per-body"):
        open_split("synthetic", "xsub", tmp_path, preprocessing="perbody")
    with pytest.raises(DataMissing, match="not prepared"):
        open_dataset("nw-ucla", tmp_path)
    with pytest.raises(DataMissing, match=r"nw-ucla\+x is not prepared"):
        open_dataset("nw-ucla+x", tmp_path)


@pytest.mark.parametrize("name", dataset_names())
def test_every_card_is_sound(name):
    card = card_of(name)
    assert isinstance(card, DatasetCard)
    assert card.name == name
    assert card.get_layout().persons == card.persons
    assert bool(card.reader) != bool(card.generate)
    assert len(set(card.classes)) == len(card.classes)
    assert card.source
    assert card.licence
    for split_name, split in card.splits.items():
        assert split.name == split_name
        assert split.held_out
        assert not split.clean_twin or split.clean_twin in card.splits


def test_default_root(monkeypatch):
    monkeypatch.delenv("SSL_SKEL_DATA", raising=False)
    assert str(default_root()) == "data"
    monkeypatch.setenv("SSL_SKEL_DATA", "/x")
    assert str(default_root()) == "/x"


def test_freed_clips_are_loaded_again(view):
    before = view.test.clips.batch(torch.tensor([0])).xyz
    view.test.free()
    assert torch.equal(view.test.clips.batch(torch.tensor([0])).xyz, before)
