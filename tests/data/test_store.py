"""The store: what goes in comes out, and what is torn, edited or foreign is refused."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.layouts import get_layout
from ssl_skel.data.memory import memory_store
from ssl_skel.data.store import FILES, Store, content_digest, pack_bits, unpack_bits
from ssl_skel.data.store_write import Packer, Report, assemble, finish_store, save_shard
from ssl_skel.errors import BadData, DataMissing, DigestMismatch

CARD = DatasetCard("toy", "Toy", "nite_15", 3, ("a", "b"), {})


def random_clip(rng, name, persons=3, frames=9):
    valid = rng.random((persons, frames, 15)) < rng.choice([0.0, 0.5, 1.0], (persons, frames, 1))
    valid[0, frames // 2, 3] = True
    xyz = rng.normal(size=(persons, frames, 15, 3)).astype(np.float32)
    return RawClip(name, xyz, valid, int(rng.integers(0, 2)), int(rng.integers(1, 5)), 2, 3, 4)


def dense(clip):
    """What a store gives back: persons never seen are gone, invalid joints are zero."""
    present = clip.valid.any(axis=(1, 2))
    return np.where(clip.valid[..., None], clip.xyz, 0)[present], clip.valid[present]


def write(tmp_path, clips, shards=2, name="toy"):
    """Write a store through shards, clips dealt round robin."""
    work = tmp_path / "work"
    work.mkdir(parents=True)
    paths = []
    for number in range(shards):
        packer = Packer()
        for clip in clips[number::shards]:
            packer.add(clip)
        paths.append(tmp_path / f"{number}.npz")
        save_shard(paths[-1], packer, Report(1, len(packer)), 15)
    report = assemble(paths, work, 15)
    return finish_store(work, tmp_path / name, CARD, report, "raw", {})


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    return write(tmp_path, [random_clip(rng, f"clip{n:02d}") for n in range(7)])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6), persons=st.integers(1, 3),
       frames=st.integers(1, 20), shards=st.integers(1, 3))
def test_round_trip_through_shards(tmp_path_factory, seed, count, persons, frames, shards):
    rng = np.random.default_rng(seed)
    clips = [random_clip(rng, f"c{n}", persons, frames) for n in range(count)]
    rng.shuffle(clips)
    written = write(tmp_path_factory.mktemp("s"), clips, min(shards, count))
    assert written.names == sorted(clip.name for clip in clips)
    by_name = {clip.name: clip for clip in clips}
    for back in written.clips():
        clip = by_name[back.name]
        xyz, valid = dense(clip)
        np.testing.assert_array_equal(back.xyz, xyz)
        np.testing.assert_array_equal(back.valid, valid)
        for field in ("label", "subject", "view", "setup", "repetition"):
            assert getattr(back, field) == getattr(clip, field)
    written.verify()


def test_files_equal_those_of_a_store_in_memory(store):
    again = memory_store(CARD, list(store.clips()), "toy/1")
    for name in ("rows", "valid", "tracks", "index"):
        np.testing.assert_array_equal(getattr(again, name), getattr(store, name))
    assert {name: entry["sha256"] for name, entry in again.meta["files"].items()
            if name in ("tracks.npy", "index.npy")} == {
        name: store.meta["files"][name]["sha256"] for name in ("tracks.npy", "index.npy")}


def test_only_rows_between_first_and_last_sight_are_stored():
    xyz, valid = np.ones((2, 10, 15, 3), np.float32), np.zeros((2, 10, 15), bool)
    valid[0], valid[1, 3], valid[1, 5, 2] = True, True, True
    made = memory_store(CARD, [RawClip("a", xyz, valid, 0, 1)], "t")
    assert made.tracks[["start", "length", "offset"]].tolist() == [(0, 10, 0), (3, 3, 10)]
    assert made.rows.shape == (13, 15, 3)
    assert made.valid[11] == 0
    assert not made.rows[11].any()


def test_arrays_are_memory_maps_and_read_only(store):
    for name in ("rows", "valid", "tracks", "index"):
        array = getattr(store, name)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


@given(bits=st.lists(st.lists(st.booleans(), min_size=25, max_size=25), min_size=1, max_size=8))
def test_bits_round_trip(bits):
    valid = np.array(bits)
    np.testing.assert_array_equal(unpack_bits(pack_bits(valid), 25), valid)


def test_absent_and_half_prepared(tmp_path):
    with pytest.raises(DataMissing, match="not prepared"):
        Store.open(tmp_path / "toy")
    (tmp_path / "toy.partial").mkdir()
    with pytest.raises(DataMissing, match="half prepared"):
        Store.open(tmp_path / "toy")


@pytest.mark.parametrize("name", FILES)
def test_torn_file_is_refused(store, name):
    path = store.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataMissing, match=r"bytes, \d+ expected"):
        Store.open(store.path)


@pytest.mark.parametrize("name", FILES)
def test_removed_file_is_refused(store, name):
    (store.path / name).unlink()
    with pytest.raises(DataMissing, match=f"can't read .*{name}"):
        Store.open(store.path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"schema": 1}', b"\xff\xfe"])
def test_damaged_meta_is_refused(store, content):
    (store.path / "meta.json").write_bytes(content)
    with pytest.raises(DataMissing, match="damaged"):
        Store.open(store.path)


def test_another_schema_is_refused(store):
    (store.path / "meta.json").write_text(json.dumps(dict(store.meta) | {"schema": 99}))
    with pytest.raises(DataMissing, match="schema 99"):
        Store.open(store.path)


@pytest.mark.parametrize("key", ["dataset", "origin", "layout"])
def test_edited_meta_is_refused(store, key):
    (store.path / "meta.json").write_text(json.dumps(dict(store.meta) | {key: "kinect_v1_20"}))
    with pytest.raises(DigestMismatch):
        Store.open(store.path)


def test_flipped_bit_is_found_by_verify(store):
    path = store.path / "rows.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"rows\.npy has changed"):
        Store.open(store.path).verify()


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_pickles_are_never_loaded(store):
    path = store.path / "index.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (7,)})
        pickle.dump(np.array([Bomb()] * 7), file)
    meta = json.loads((store.path / "meta.json").read_text())
    meta["files"]["index.npy"]["bytes"] = path.stat().st_size
    meta["digest"] = content_digest(meta)
    (store.path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataMissing, match="damaged"):
        Store.open(store.path)


def test_index_that_does_not_fit_is_refused(store):
    tracks = np.array(store.tracks)
    tracks["offset"][1] += 1
    np.save(store.path / "tracks.npy", tracks)
    with pytest.raises(DigestMismatch, match="does not fit"):
        Store.open(store.path)


@pytest.mark.parametrize(("name", "field", "value"), [
    ("tracks", "start", -1), ("tracks", "start", 10**6), ("tracks", "length", 0), ("tracks", "clip", 3),
    ("tracks", "person", 7), ("index", "frames", 0), ("index", "frames", 2**31 - 1), ("index", "num_tracks", -1),
    ("index", "first_track", 2), ("index", "name", b"zzz"), ("index", "name", b"\xff")])
def test_an_index_that_would_lead_astray_is_refused(store, name, field, value):
    """Its digests are right; gathering by it would read other rows, or take all memory."""
    array = np.array(getattr(store, name))
    array[field][0] = value
    np.save(store.path / f"{name}.npy", array)
    with pytest.raises(DigestMismatch, match="does not fit"):
        Store.open(store.path)


@pytest.mark.parametrize("change", [{"layout": "coco"}, {"layout": 3}, {"persons": 0}, {"persons": "many"},
                                    {"persons": 10**9}])
def test_a_layout_that_does_not_exist_is_refused(store, change):
    meta = {**store.meta, **change}
    meta["digest"] = content_digest(meta)
    (store.path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataMissing, match="damaged"):
        Store.open(store.path)


def test_numbers_of_another_type_are_refused(store):
    np.save(store.path / "rows.npy", np.array(store.rows, np.int32))
    with pytest.raises(DataMissing, match="damaged"):
        Store.open(store.path)


def test_two_clips_of_one_name_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(BadData, match="two clips are named same"):
        write(tmp_path, [random_clip(rng, "same"), random_clip(rng, "same")])


def test_no_clip_at_all_is_refused(tmp_path):
    save_shard(tmp_path / "0.npz", Packer(), Report(1, 0, [], [("x.json", "torn")]), 15)
    with pytest.raises(BadData, match=r"no clip could be kept \(x.json: torn\)"):
        assemble([tmp_path / "0.npz"], tmp_path, 15)


LAYOUT = get_layout("nite_15", 2)
GOOD = RawClip("a", np.zeros((2, 4, 15, 3), np.float32), np.ones((2, 4, 15), bool), 0, 1)


def with_value(value):
    xyz = GOOD.xyz.copy()
    xyz[1, 2, 3, 1] = value
    return xyz


@pytest.mark.parametrize(("change", "message"), [
    ({"name": ""}, "characters"),
    ({"name": "ä"}, "characters"),
    ({"name": "x" * 41}, "characters"),
    ({"xyz": GOOD.xyz[..., :2]}, "shapes"),
    ({"valid": GOOD.valid[:1]}, "shapes"),
    ({"xyz": GOOD.xyz[:, :, :14], "valid": GOOD.valid[:, :, :14]}, "14 joints, expected 15"),
    ({"xyz": np.zeros((3, 4, 15, 3), np.float32), "valid": np.ones((3, 4, 15), bool)}, "3 persons, at most 2"),
    ({"xyz": GOOD.xyz[:, :0], "valid": GOOD.valid[:, :0]}, "empty clip"),
    ({"valid": np.zeros_like(GOOD.valid)}, "empty clip"),
    ({"xyz": with_value(np.nan)}, "NaN"),
    ({"xyz": with_value(-np.inf)}, "NaN or infinite"),
    ({"xyz": with_value(1e5)}, "beyond"),
])
def test_bad_clips_are_refused(change, message):
    with pytest.raises(BadData, match=message):
        check_clip(dataclasses.replace(GOOD, **change), LAYOUT)


def test_nan_in_an_invalid_joint_is_no_matter():
    valid = GOOD.valid.copy()
    valid[1, 2, 3] = False
    clip = dataclasses.replace(GOOD, xyz=with_value(np.nan), valid=valid)
    check_clip(clip, LAYOUT)
    made = memory_store(CARD, [clip], "t")
    assert np.isfinite(made.rows).all()
