"""The three exchange formats: what comes out is what went in, and what is wrong is refused in one line."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.exchange import FRAMES, Clip, padded, pyskl_content, small_ntu60, write_crossclr, write_npz
from ssl_skel.data.importers import ctrgcn, run, safe_pickle
from ssl_skel.data.importers.npy_stream import open_npy
from ssl_skel.data.importers.run import import_dataset
from ssl_skel.data.store import Store
from ssl_skel.errors import BadData, DataMissing, UnknownName

CARD, CLIPS = small_ntu60()


@pytest.fixture(autouse=True)
def small_world(monkeypatch):
    monkeypatch.setattr(ctrgcn, "usable_names", lambda dataset: [clip.name for clip in CLIPS])


def write(fmt: str, folder, clips=CLIPS) -> list:
    if fmt == "ctrgcn-npz":
        return [write_npz(folder / "NTU60_CS.npz", clips)]
    if fmt == "pyskl-pkl":
        path = folder / "ntu60_3danno.pkl"
        path.write_bytes(pickle.dumps(pyskl_content(clips)))
        return [path]
    return write_crossclr(folder, clips)


FORMATS = pytest.mark.parametrize("fmt", ["ctrgcn-npz", "pyskl-pkl", "crossclr-npy"])


@FORMATS
def test_what_comes_out_is_what_went_in(fmt, tmp_path):
    done = import_dataset(CARD, fmt, write(fmt, tmp_path), tmp_path / "data")
    store = Store.open(tmp_path / "data" / f"ntu60+{fmt}")
    store.verify()
    assert store.names == [clip.name for clip in CLIPS]
    assert [split[1:] for split in done.splits] == [(24, 12, True)] * 2
    for clip, stored in zip(CLIPS, store.clips()):
        persons = 1 + bool(clip.xyz[1].any())
        expected = clip.xyz[:persons]
        if fmt == "pyskl-pkl":
            expected = expected.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(stored.xyz, expected)
        assert stored.valid.all(), "a joint that centring put at zero was taken for unseen"
        assert (stored.label, stored.subject, stored.view) == (clip.label, int(clip.name[9:12]), int(clip.name[5:8]))
    assert not list((tmp_path / "data").glob("*.partial"))


def test_an_import_has_another_name_origin_and_digest_than_raw_data(tmp_path):
    stores = [import_dataset(CARD, fmt, write(fmt, tmp_path), tmp_path / "data").store
              for fmt in ("ctrgcn-npz", "crossclr-npy")]
    assert [store.meta["origin"] for store in stores] == ["import:ctrgcn-npz", "import:crossclr-npy"]
    assert [store.meta["dataset"] for store in stores] == ["ntu60+ctrgcn-npz", "ntu60+crossclr-npy"]
    assert stores[0].digest != stores[1].digest
    for a, b in zip(stores[0].clips(), stores[1].clips()):
        np.testing.assert_array_equal(a.xyz, b.xyz)


@FORMATS
def test_a_missing_clip_is_noticed_and_leaves_nothing(fmt, tmp_path):
    files = write(fmt, tmp_path, CLIPS[1:])
    with pytest.raises(BadData, match=r"expected 24/12|are no split of ntu60"):
        import_dataset(CARD, fmt, files, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize("fmt", ["pyskl-pkl", "crossclr-npy"])
def test_an_incomplete_dataset_on_request(fmt, tmp_path):
    done = import_dataset(CARD, fmt, write(fmt, tmp_path, CLIPS[1:]), tmp_path / "data", incomplete=True)
    assert not done.splits[0][3]


@FORMATS
def test_a_label_that_is_not_the_names_is_refused(fmt, tmp_path):
    clips = [Clip(clip.name, clip.label, clip.xyz) for clip in CLIPS]
    clips[20].label = 41
    with pytest.raises(BadData, match="label 41 in the file"):
        import_dataset(CARD, fmt, write(fmt, tmp_path, clips), tmp_path / "data")


@FORMATS
def test_a_clip_of_zeros_is_refused(fmt, tmp_path):
    clips = [Clip(clip.name, clip.label, clip.xyz) for clip in CLIPS]
    clips[3].xyz = np.zeros_like(clips[3].xyz)
    with pytest.raises(BadData, match=f"{clips[3].name}: every number is zero"):
        import_dataset(CARD, fmt, write(fmt, tmp_path, clips), tmp_path / "data")


def test_a_file_sorted_by_name_and_not_by_performer_is_refused(tmp_path):
    train = [clip for clip in CLIPS if clip.name[9:12] != "003"]
    test = [clip for clip in CLIPS if clip.name[9:12] == "003"]
    arrays = {f"x_{part}": np.stack([padded(clip).swapaxes(0, 1).reshape(FRAMES, 150) for clip in clips])
              for part, clips in (("train", train[::-1]), ("test", test))}
    arrays |= {f"y_{part}": np.eye(60)[[clip.label for clip in clips]]
               for part, clips in (("train", train[::-1]), ("test", test))}
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(BadData, match="in the file"):
        import_dataset(CARD, "ctrgcn-npz", [tmp_path / "x.npz"], tmp_path / "data")


def test_npz_order_is_by_group_then_by_name():
    train, test = ctrgcn.ordered_names(CARD, CARD.get_split("xview"))
    assert [name[5:8] for name in train] == ["002"] * 12 + ["003"] * 12
    assert train[:12] == sorted(train[:12])
    assert {name[5:8] for name in test} == {"001"}


def test_a_compressed_npz_reads_the_same(tmp_path):
    for compress in (False, True):
        write_npz(tmp_path / f"{compress}.npz", CLIPS, compress)
    digests = {import_dataset(CARD, "ctrgcn-npz", [tmp_path / f"{compress}.npz"], tmp_path / str(compress)).store.digest
               for compress in (False, True)}
    assert len(digests) == 1


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(protocol, tmp_path):
    content = pyskl_content(CLIPS)
    content["annotations"][0]["keypoint"] = np.asfortranarray(content["annotations"][0]["keypoint"])
    content["annotations"][1]["keypoint"] = content["annotations"][1]["keypoint"].astype(">f8")
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    store = import_dataset(CARD, "pyskl-pkl", [path], tmp_path / "data").store
    half = [clip.xyz.astype(np.float16).astype(np.float32) for clip in CLIPS]
    np.testing.assert_array_equal(store.clip(0).xyz, half[0][:1])
    np.testing.assert_array_equal(store.clip(1).xyz, half[1][:1])


def test_pyskl_lists_have_to_be_those_of_the_split(tmp_path):
    content = pyskl_content(CLIPS)
    content["split"]["xsub_train"].append(content["split"]["xsub_val"].pop())
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(BadData, match="stands in xsub_train"):
        import_dataset(CARD, "pyskl-pkl", [path], tmp_path / "data")


@pytest.mark.parametrize(("change", "message"), [
    (lambda a: a.pop("keypoint"), "has not frame_dir, label and keypoint"),
    (lambda a: a.update(frame_dir="a01"), "not a name of the form"),
    (lambda a: a.update(label="1"), "label '1' is not what it should be"),
    (lambda a: a.update(total_frames=3), "total_frames 3, but"),
    (lambda a: a.update(keypoint=np.zeros((2, 5, 17, 2))), r"shape \(2, 5, 17, 2\)"),
    (lambda a: a.update(keypoint=[[1, [2]]]), "annotation 4"),
    (lambda a: a.update(keypoint=np.full_like(a["keypoint"], np.nan)), "NaN"),
])
def test_bad_annotations(change, message, tmp_path):
    content = pyskl_content(CLIPS)
    change(content["annotations"][4])
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(BadData, match=message):
        import_dataset(CARD, "pyskl-pkl", [path], tmp_path / "data", incomplete=True)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def via_getattr():
    return b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR(S'touch pwned'\ntR."


@pytest.mark.parametrize(("payload", "name"), [
    (pickle.dumps({"annotations": [Evil()]}), "posix.system"),
    (pickle.dumps({"annotations": [Evil()]}, 0), "posix.system"),
    (via_getattr(), "__builtin__.getattr"),
    (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
    (b"cnumpy\nload\n(S'/etc/passwd'\ntR.", "numpy.load"),
    (b"cnumpy.testing._private.utils\nrunstring\n.", "numpy.testing._private.utils.runstring"),
    (pickle.dumps(OrderedDict(a=1)), "collections.OrderedDict"),
    (pickle.dumps({1, 2}, 0), "set"),
    (pickle.dumps(1j), "builtins.complex"),
])
@pytest.mark.parametrize("fmt", ["pyskl-pkl", "crossclr-npy"])
def test_a_malicious_pickle_is_refused_by_the_name_of_its_global(payload, name, fmt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = write(fmt, tmp_path)
    next(path for path in files if path.suffix == ".pkl").write_bytes(payload)
    with pytest.raises(BadData, match=f"refused: it asks for .*{name}"):
        import_dataset(CARD, fmt, files, tmp_path / "data")
    assert not (tmp_path / "pwned").exists()


def array_pickle(dtype_state: str, dtype: str = "f8", shape: str = "(I1\nt", raw: str = "S'12345678'\n") -> bytes:
    """A protocol 0 pickle of an array whose dtype carries the given state."""
    return (f"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n{shape}cnumpy\ndtype\n"
            f"(S'{dtype}'\nI0\nI1\ntR{dtype_state}bI00\n{raw}tb.").encode()


GOOD_STATE = "(I3\nS'<'\nNNNI-1\nI-1\nI0\nt"


@pytest.mark.parametrize("payload", [
    array_pickle(GOOD_STATE, dtype="O8"),
    array_pickle(GOOD_STATE, dtype="V8"),
    array_pickle("(I3\nS'|'\nN(S'a'\nt(dS'a'\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI0\ntsI8\nI1\nI63\nt"),
    array_pickle("(I3\nS'|'\n(I1\nI2\ntNNI8\nI1\nI63\nt"),
    array_pickle(GOOD_STATE, shape="(I1000000000000\nt"),
    array_pickle(GOOD_STATE, shape="(I-1\nt"),
    array_pickle(GOOD_STATE, raw="(lp0\nS'x'\na"),
    b"cnumpy\nndarray\n}S'make'\nI1\nsb.",
    b"\x80\x04r\xff\xff\xff\xff.",
    b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",
    b"P123\n.", b"", b"\x80\x04]" + b"]" * 5000 + b"a" * 5000 + b".", b"\x80\xff.",
])
def test_pickles_that_lie_about_arrays_are_refused(payload, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(payload)
    with pytest.raises(BadData):
        safe_pickle.as_array(safe_pickle.load(path), "x")


def test_an_honest_array_written_the_same_way_is_read(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(array_pickle(GOOD_STATE, raw="c_codecs\nencode\n(S'12345678'\nS'latin1'\ntR"))
    assert safe_pickle.as_array(safe_pickle.load(path), "x").tolist() == np.frombuffer(b"12345678", "<f8").tolist()


def test_plain_values_and_numpy_scalars(tmp_path):
    content = {"a": [1, 2.5, "x", None, True, 2**80, b"y"], "b": (np.int64(3), np.float32(0.5)), "c": np.arange(6)}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content))
    found = safe_pickle.load(path)
    assert found["a"] == content["a"]
    assert found["b"] == (3, 0.5)
    np.testing.assert_array_equal(safe_pickle.as_array(found["c"], "c"), np.arange(6))


PICKLE = pickle.dumps(pyskl_content(CLIPS[:2]))


@given(st.lists(st.tuples(st.integers(0, len(PICKLE) - 1), st.binary(min_size=1, max_size=5)), min_size=1, max_size=6))
@settings(max_examples=300, deadline=5000)
def test_mutated_pickles_give_plain_values_or_bad_data(changes):
    import tempfile
    from pathlib import Path

    data = bytearray(PICKLE)
    for at, junk in changes:
        data[at:at + len(junk)] = junk
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pkl"
        path.write_bytes(data)
        try:
            found = safe_pickle.load(path)
            assert not callable(found)
        except BadData as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(("change", "message"), [
    (lambda path: path.write_bytes(b"x"), "not an npz file"),
    (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not an npz file"),
    (lambda path: np.savez(path, x=1), "y_train: no such array"),
    (lambda path: np.savez(path, y_train=np.ones((3, 7))), r"shape \(3, 7\), expected one-hot"),
    (lambda path: np.savez(path, y_train=np.ones((3, 60))), "row 0 is not one-hot"),
    (lambda path: np.savez(path, y_train=np.array([None] * 3)), "holds object"),
])
def test_bad_npz_files(change, message, tmp_path):
    path = write_npz(tmp_path / "x.npz", CLIPS)
    change(path)
    with pytest.raises(BadData, match=message):
        import_dataset(CARD, "ctrgcn-npz", [path], tmp_path / "data")


def test_a_damaged_npz_is_one_line(tmp_path):
    path = write_npz(tmp_path / "x.npz", CLIPS, compress=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(BadData, match="can't be unpacked"):
        import_dataset(CARD, "ctrgcn-npz", [path], tmp_path / "data")


def test_headers_that_promise_more_than_the_file_are_refused_before_memory_is_taken():
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 300, 150)})
    buffer.seek(0)
    with pytest.raises(BadData, match="promises more"):
        open_npy(buffer, "x", 200)


def test_npy_cut_in_the_middle(tmp_path):
    files = write("crossclr-npy", tmp_path)
    data = files[0].read_bytes()
    files[0].write_bytes(data[:-100])
    with pytest.raises(BadData, match=r"train_data.npy: cut off in row 23 of 24"):
        import_dataset(CARD, "crossclr-npy", files, tmp_path / "data")


def test_files_missing_doubled_or_of_another_shape(tmp_path):
    files = write("crossclr-npy", tmp_path)
    with pytest.raises(BadData, match=r"0 files named val\*\.npy"):
        import_dataset(CARD, "crossclr-npy", files[:2], tmp_path / "data")
    np.save(files[0], np.zeros((24, 3, 5, 17, 2)))
    with pytest.raises(BadData, match=r"expected \(N, 3, T, 25, 2\)"):
        import_dataset(CARD, "crossclr-npy", files, tmp_path / "data")
    with pytest.raises(DataMissing, match="no file"):
        import_dataset(CARD, "pyskl-pkl", [tmp_path / "none.pkl"], tmp_path / "data")
    with pytest.raises(UnknownName, match="unknown format"):
        import_dataset(CARD, "ctrgcn", files, tmp_path / "data")


def test_an_import_is_replaced_only_on_request_and_after_a_kill(tmp_path):
    files = write("pyskl-pkl", tmp_path)
    (tmp_path / "data" / "ntu60+pyskl-pkl.partial" / "store").mkdir(parents=True)
    first = import_dataset(CARD, "pyskl-pkl", files, tmp_path / "data").store.digest
    with pytest.raises(BadData, match="is there already"):
        import_dataset(CARD, "pyskl-pkl", files, tmp_path / "data")
    assert import_dataset(CARD, "pyskl-pkl", files, tmp_path / "data", force=True).store.digest == first


def test_many_shards_make_the_same_store(tmp_path, monkeypatch):
    files = write("pyskl-pkl", tmp_path)
    whole = import_dataset(CARD, "pyskl-pkl", files, tmp_path / "a").store.digest
    monkeypatch.setattr(run, "SHARD_ROWS", 20)
    assert import_dataset(CARD, "pyskl-pkl", files, tmp_path / "b").store.digest == whole


def test_command(tmp_path, monkeypatch):
    from ssl_skel.cli.data_import import import_data
    from ssl_skel.data import catalog

    monkeypatch.setattr(catalog, "get_card", lambda name: CARD)
    (path,) = write("ctrgcn-npz", tmp_path)
    asked = ["ntu60", str(path), "--format", "ctrgcn-npz", "--data-root", str(tmp_path)]
    result = CliRunner().invoke(import_data, asked)
    assert result.exit_code == 0, result.output
    assert "36 clips imported as ntu60+ctrgcn-npz" in result.output
    assert "xsub: 24 train, 12 test" in result.output


def test_zip_members_may_not_lie_about_their_size(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("y_train.npy", b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, "
                         b"'shape': (99999999999, 60), }".ljust(117) + b"\n")
    with pytest.raises(BadData, match="promises more"):
        import_dataset(CARD, "ctrgcn-npz", [path], tmp_path / "data")
