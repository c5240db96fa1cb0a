"""Files that would hang, fill the memory or crash a careless reader: one line each, and the rest goes on."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.raw_ntu import ID, skeleton_lines, standing, to_bytes
from helpers.raw_ntu import write_clip as write_ntu
from helpers.raw_others import pku_text, sbu_text, stick_figure, write_pku, write_sbu, write_uwa3d
from helpers.raw_ucla import clip_name, write_clip
from ssl_skel.data.catalog import get_card
from ssl_skel.data.importers import safe_pickle
from ssl_skel.data.prepare import prepare
from ssl_skel.data.readers import files, nw_ucla, pku
from ssl_skel.data.readers.ntu import NtuReader
from ssl_skel.data.readers.ntu_text import parse_skeleton
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.data.readers.pku import Pku1Reader
from ssl_skel.data.readers.uwa3d import Uwa3dReader, load_matlab
from ssl_skel.errors import BadData

GOOD = {"ntu60": "S001C001P001R001A001.skeleton", "nw-ucla": f"{clip_name(1, 1)}.json", "uwa3d": "a01_s01_e01_v01.mat",
        "sbu": "s01s02/01/001/skeleton_pos.txt", "pku-mmd-1": "Skeleton/PKU_Skeleton_Renew/0002-L.txt"}
OTHER = {"ntu60": "S001C001P001R001A002.skeleton", "nw-ucla": f"{clip_name(2, 1)}.json", "uwa3d": "a02_s01_e01_v01.mat",
         "sbu": "s01s02/01/002/skeleton_pos.txt", "pku-mmd-1": "Skeleton/PKU_Skeleton_Renew/0003-L.txt"}


def write_good(dataset: str, raw: Path) -> None:
    """One readable clip of a dataset, at `GOOD`."""
    raw.mkdir()
    if dataset == "ntu60":
        write_ntu(raw, "S001C001P001R001A001", standing(12))
    elif dataset == "nw-ucla":
        write_clip(raw, clip_name(1, 1), np.ones((3, 20, 3)))
    elif dataset == "uwa3d":
        write_uwa3d(raw / GOOD["uwa3d"], stick_figure(40))
    elif dataset == "sbu":
        write_sbu(raw, "s01s02_01_001", sbu_text(np.random.default_rng(0).uniform(0.1, 1.9, (4, 2, 15, 3))))
    else:
        write_pku(raw, "0002-L", pku_text(standing(12)), [(1, 0, 10, 2)])
    assert (raw / GOOD[dataset]).is_file()


def outcome(dataset: str, raw: Path) -> tuple[int, list[str]]:
    report = prepare(get_card(dataset), raw, raw.parent / "data").report
    assert all("\n" not in why for _, why in report.unreadable)
    return report.kept, [f"{name}: {why}" for name, why in report.unreadable]


EVERY = pytest.mark.parametrize("dataset", GOOD)


@EVERY
@pytest.mark.timeout(60)
def test_a_pipe_in_the_folder_hangs_nobody(dataset, tmp_path):
    write_good(dataset, tmp_path / "raw")
    place = tmp_path / "raw" / OTHER[dataset]
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    assert outcome(dataset, tmp_path / "raw") == (1, [])


@pytest.mark.parametrize("dataset", set(GOOD) - {"pku-mmd-1"})
def test_a_dead_link_is_reported_and_the_rest_kept(dataset, tmp_path):
    write_good(dataset, tmp_path / "raw")
    place = tmp_path / "raw" / OTHER[dataset]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "gone")
    kept, unreadable = outcome(dataset, tmp_path / "raw")
    assert kept == 1
    assert len(unreadable) == 1
    assert "No such file" in unreadable[0]


def test_a_dead_link_among_pku_files_ends_the_run_with_one_line(tmp_path):
    """Which of two files of one name holds the labels shows in their content only."""
    write_good("pku-mmd-1", tmp_path / "raw")
    (tmp_path / "raw" / OTHER["pku-mmd-1"]).symlink_to(tmp_path / "gone")
    with pytest.raises(BadData, match=r"can't read .*0003-L\.txt: No such file"):
        outcome("pku-mmd-1", tmp_path / "raw")


@pytest.mark.parametrize("dataset", set(GOOD) - {"uwa3d"})
def test_a_file_too_large_for_the_dataset_is_not_read(dataset, tmp_path, monkeypatch):
    write_good(dataset, tmp_path / "raw")
    place = tmp_path / "raw" / GOOD[dataset]
    with place.open("r+b") as file:
        file.truncate(files.MAX_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read") if path == place else b"1,0,10,2")
    with pytest.raises(BadData, match=r"no clip could be kept .*larger than (64|8) MB"):
        outcome(dataset, tmp_path / "raw")


@pytest.mark.parametrize("dataset", set(GOOD) - {"uwa3d", "pku-mmd-1"})
def test_a_file_that_may_not_be_read(dataset, tmp_path, monkeypatch):
    """Root may read everything, so the system's answer is put in its place."""
    write_good(dataset, tmp_path / "raw")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BadData, match=r"no clip could be kept .*Permission denied"):
        outcome(dataset, tmp_path / "raw")


def test_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    write_good("ntu60", tmp_path / "raw")
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(Exception, match="no permission to list"):
            NtuReader().discover(tmp_path / "raw")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "raw"))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(Exception, match=r"can't list .*raw: Permission denied"):
        NtuReader().discover(tmp_path / "raw")


@pytest.mark.parametrize("fast", ["0", "1"])
@pytest.mark.parametrize("count", ["1000000000", "1000000", "99999999999999999999"])
def test_a_giant_number_of_frames(count, fast, monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    lines = skeleton_lines([{ID: frame} for frame in standing(2)])
    with pytest.raises(BadData, match=f"line 1: '{count}' is not a whole number below 1000000"):
        parse_skeleton(to_bytes([count, *lines[1:]]))
    with pytest.raises(BadData, match=r"line 2: .* is not a whole number below 100"):
        parse_skeleton(to_bytes([lines[0], count, *lines[2:]]))


@pytest.mark.parametrize("label", ["[" * 900 + "]" * 900, '"x"', "1.0", "true", "null", "9" * 4000])
def test_labels_that_are_no_label(label, tmp_path):
    path = tmp_path / f"{clip_name()}.json"
    path.write_text(f'{{"file_name": "{clip_name()}", "skeletons": [], "label": {label}}}')
    with pytest.raises(BadData, match=r"label no whole number|not a whole JSON file|file, 1 by its name|label 9{40}"):
        list(NwUclaReader().read(path))


def test_a_clip_name_without_end_is_cut_in_the_message(tmp_path):
    path = tmp_path / f"{clip_name()}.json"
    path.write_text(json.dumps({"file_name": "x" * 10**6, "skeletons": [], "label": 1}))
    with pytest.raises(BadData) as error:
        list(NwUclaReader().read(path))
    assert len(str(error.value)) < 200


def test_json_of_a_size_that_no_clip_has(tmp_path, monkeypatch):
    monkeypatch.setattr(nw_ucla, "MAX_BYTES", 100)
    with pytest.raises(BadData, match="larger than"):
        list(NwUclaReader().read(write_clip(tmp_path, clip_name(), np.ones((3, 20, 3)))))


def test_pku_labels_that_repeat_one_clip_without_end(tmp_path):
    path = write_pku(tmp_path, "0002-L", pku_text(standing(12)), [(1, 0, 12, 1)] * 21)
    with pytest.raises(BadData, match="cover its 12 frames over 20 times"):
        list(Pku1Reader().read(path))
    path = write_pku(tmp_path / "b", "0002-L", pku_text(standing(12)), [(1, 0, 12, 1)] * 20)
    assert len(list(Pku1Reader().read(path))) == 20


def test_a_label_file_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(pku, "MAX_LABEL_BYTES", 9)
    path = write_pku(tmp_path, "0002-L", pku_text(standing(12)), [(1, 0, 12, 1)])
    with pytest.raises(BadData, match="larger than"):
        list(Pku1Reader().read(path))


def hdf5(path: Path, make) -> Path:
    with h5py.File(path, "w") as file:
        make(file)
    return path


def link_outside(file: h5py.File) -> None:
    file["A"] = h5py.ExternalLink("other.mat", "A")


def store_outside(file: h5py.File) -> None:
    file.create_dataset("A", (30, 15, 3), "f8", external=[("other.bin", 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((30, 15, 3), "f8")
    layout[:] = h5py.VirtualSource("other.mat", "A", (30, 15, 3))
    file.create_virtual_dataset("A", layout)


@pytest.mark.parametrize(("make", "message"), [
    (link_outside, "no dataset 'A'"), (store_outside, "stored in a way"), (virtual, "stored in a way"),
    (lambda file: file.create_dataset("A", (20_000, 45), "f8", chunks=(10**6, 45), maxshape=(None, 45)),
     "stored in a way"),
    (lambda file: file.create_dataset("A", (10**12, 45), "f8", chunks=(10, 45)), "frames, more than 20000"),
    (lambda file: file.create_dataset("A", (0, 15, 3), "f8"), "is empty or holds no numbers"),
    (lambda file: [file.create_group(f"g{number}") for number in range(50)], r"there is g0, g1, g10, g11, g12\)"),
])
def test_hdf5_that_no_matlab_writes(make, message, tmp_path):
    write_uwa3d(tmp_path / "other.mat", stick_figure(30))
    (tmp_path / "other.bin").write_bytes(bytes(30 * 45 * 8))
    with pytest.raises(BadData, match=message):
        load_matlab(hdf5(tmp_path / "a01_s01_e01_v01.mat", make))


def test_further_datasets_in_a_matlab_file_do_no_harm(tmp_path):
    path = write_uwa3d(tmp_path / "a01_s01_e01_v01.mat", stick_figure(30))
    with h5py.File(path, "r+") as file:
        file.create_group("#refs#").create_dataset("a", data=np.zeros(3))
        file.create_dataset("B", data=np.zeros((7, 7)))
    (clip,) = Uwa3dReader().read(path)
    assert clip.xyz.shape == (1, 30, 15, 3)


def test_one_damaged_file_does_not_decide_for_its_folder(tmp_path):
    broken = stick_figure(30)
    broken[3, 4, 1] = 1e300
    path = write_uwa3d(tmp_path / "a01_s01_e09_v01.mat", broken)
    for number in range(1, 9):
        write_uwa3d(tmp_path / f"a01_s01_e0{number}_v01.mat", stick_figure(30, number))
    (clip,) = Uwa3dReader().read(tmp_path / "a01_s01_e01_v01.mat")
    assert clip.valid.all()
    (clip,) = Uwa3dReader().read(path)
    assert np.argwhere(~clip.valid[0]).tolist() == [[3, 4]]


def test_a_pickle_that_grows_when_it_is_unfolded(tmp_path):
    laughs: object = [0] * 10
    for _ in range(12):
        laughs = [laughs] * 10
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(laughs))
    with pytest.raises(BadData, match="x: not a numpy array"):
        safe_pickle.as_array(safe_pickle.load(path), "x")


def test_frames_of_nobody_are_counted(tmp_path):
    frames = [{ID: frame} for frame in standing(20)]
    frames[3:3] = [{}, {}]
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(to_bytes(skeleton_lines(frames)))
    dropped, clip = NtuReader().read(path)
    assert (dropped.name, dropped.rule, dropped.why) == (path.stem, "frame-empty", "nobody in 2 of 22 frames")
    assert clip.xyz.shape[1] == 20
