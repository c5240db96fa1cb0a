"""The NW-UCLA reader on written files, mutated files, and the real set."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.raw_ucla import clip_name, real_data, write_clip, write_folder
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.datasets.nw_ucla import CARD
from ssl_skel.data.prepare import prepare
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.data.store import Store
from ssl_skel.errors import BadData, DataMissing


def test_name_gives_everything_else(tmp_path):
    path = write_clip(tmp_path, clip_name(11, 7, 4, 2), np.ones((3, 20, 3)))
    (clip,) = NwUclaReader().read(path)
    assert (clip.label, clip.subject, clip.repetition, clip.view) == (8, 7, 4, 2)
    assert CARD.classes[clip.label] == "throw"
    assert clip.xyz.shape == (1, 3, 20, 3)


def test_joints_at_zero_are_not_valid(tmp_path):
    xyz = np.ones((3, 20, 3))
    xyz[1, 4] = 0
    xyz[2, 5] = 0, 0, 1e-6
    (clip,) = NwUclaReader().read(write_clip(tmp_path, clip_name(), xyz))
    assert np.argwhere(~clip.valid[0]).tolist() == [[1, 4]]


def test_discovers_the_folder_or_its_parent_and_nothing_else(tmp_path):
    folder = write_folder(tmp_path, 5)
    (folder / "val_label.pkl").write_bytes(b"")
    (folder / "other.json").write_text("{}")
    (folder / "a01_s01_e00_v01.txt").write_text("")
    found = NwUclaReader().discover(folder)
    assert len(found) == 5
    assert found == sorted(found) == NwUclaReader().discover(tmp_path)


def test_a_folder_of_other_files(tmp_path):
    (tmp_path / "S001C001P001R001A001.skeleton").write_text("")
    with pytest.raises(DataMissing, match="no NW-UCLA files"):
        NwUclaReader().discover(tmp_path)


VALID = json.dumps({"file_name": clip_name(), "skeletons": np.ones((2, 20, 3)).tolist(), "label": 1}).encode()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(VALID)), drop=st.integers(0, 40), insert=st.binary(max_size=20))
def test_mutated_files_are_read_or_refused(tmp_path, at, drop, insert):
    path = tmp_path / f"{clip_name()}.json"
    path.write_bytes(VALID[:at] + insert + VALID[at + drop:])
    refused = None
    try:
        for clip in NwUclaReader().read(path):
            assert isinstance(clip, RawClip)
            check_clip(clip, CARD.get_layout())
    except BadData as error:
        refused = str(error)
    assert refused is None or "\n" not in refused


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return prepare(CARD, real_data("nw-ucla"), tmp_path_factory.mktemp("nw-ucla"), workers=2).store


@pytest.mark.real_data
def test_real_counts(real):
    index = real.index
    assert len(index) == 1484
    assert np.bincount(index["view"]).tolist() == [0, 516, 504, 464]
    assert np.bincount(index["label"]).tolist() == [150, 152, 141, 173, 148, 149, 142, 142, 145, 142]
    assert np.bincount(index["subject"]).tolist() == [0, 160, 154, 159, 162, 119, 138, 147, 158, 139, 148]
    assert (index["frames"].min(), np.median(index["frames"]), index["frames"].max()) == (1, 31, 201)
    assert index["frames"].sum() == len(real.rows) == 58534
    assert set(np.asarray(real.names)[index["frames"] == 1]) >= {"a02_s09_e04_v02", "a02_s09_e04_v03"}


@pytest.mark.real_data
def test_real_zero_joints_are_invalid(real):
    whole = np.uint32((1 << 20) - 1)
    broken = {real.names[int(real.tracks["clip"][np.searchsorted(real.tracks["offset"], row, "right") - 1])]
              for row in np.flatnonzero(real.valid != whole)}
    assert broken == {"a04_s01_e01_v01", "a04_s04_e02_v01"}


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "train", "test"), [
    ("v3", 1020, 464), ("v3-clean", 1020, 369), ("v2", 980, 504), ("v2-clean", 980, 399), ("v1", 968, 516),
    ("v1-clean", 968, 506)])
def test_real_splits(real, name, train, test):
    split = CARD.splits[name]
    parts = split.apply(real.index)
    assert (len(parts.train), len(parts.test)) == (train, test) == split.expected
    assert split.is_complete(parts)
    held_out, labels = real.index["subject"][parts.train][parts.val], real.index["label"][parts.train]
    assert set(held_out.tolist()) == {2, 7}
    assert set(labels[parts.val].tolist()) == set(labels[~parts.val].tolist()) == set(range(10))


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "copies", "sharing", "left_out"), [
    ("v3", 95, 0, 95), ("v2", 95, 10, 105), ("v1", 0, 9, 10)])
def test_real_leaks(real, name, copies, sharing, left_out):
    """Whole clips and single frames that stand in training and test; the clean twin has none and the same training."""
    leaky = CARD.splits[name]
    clean = CARD.splits[leaky.clean_twin]
    assert (len(copied_clips(real, leaky)), len(clips_with_copied_frames(real, leaky))) == (copies, copies + sharing)
    assert clips_with_copied_frames(real, clean) == set()
    assert leaky.known_leak
    assert not clean.known_leak
    before, after = leaky.apply(real.index), clean.apply(real.index)
    assert len(set(before.test) - set(after.test)) == len(before.test) - len(after.test) == left_out
    np.testing.assert_array_equal(after.train, before.train)


def copied_clips(store, split) -> set[str]:
    parts = split.apply(store.index)
    content = [hashlib.sha256(store.clip(position).xyz.tobytes()).digest() for position in range(len(store))]
    train = {content[position] for position in parts.train}
    return {store.names[position] for position in parts.test if content[position] in train}


def clips_with_copied_frames(store, split) -> set[str]:
    parts = split.apply(store.index)
    train = {frame.tobytes() for position in parts.train for frame in store.clip(position).xyz[0]}
    return {store.names[position] for position in parts.test
            if any(frame.tobytes() in train for frame in store.clip(position).xyz[0])}


@pytest.mark.real_data
def test_real_store_opens_again(real):
    assert Store.open(real.path).digest == real.digest
    real.verify()
