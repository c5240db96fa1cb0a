"""The readers under `prepare`: bad files among good ones, each in one line of the report, the rest kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.raw_ntu import ID, recording, skeleton_lines, standing, to_bytes, write_clip
from helpers.raw_others import pku_text, sbu_text, stick_figure, write_pku, write_sbu, write_uwa3d
from ssl_skel.data.catalog import get_card
from ssl_skel.data.prepare import prepare
from ssl_skel.errors import BadData, DataMissing

GOOD = ("S001C001P001R001A001", "S001C002P001R001A050", "S001C003P003R002A060")


def write_ntu(raw: Path) -> None:
    """Good clips, one of two persons and a third body, one on the missing list, and every kind of bad file."""
    raw.mkdir()
    write_clip(raw, GOOD[0], standing(20), "\n")
    write_clip(raw, GOOD[1], standing(25, 1))
    bodies = {ID + 2 * i: (0, standing(40, i, amount=0.1 / (i + 1))) for i in range(3)}
    (raw / f"{GOOD[2]}.skeleton").write_bytes(to_bytes(skeleton_lines(recording(bodies, 40))))
    write_clip(raw, "S001C002P005R002A008", standing(9))
    whole = to_bytes(skeleton_lines([{ID: frame} for frame in standing(6)]))
    bad = {"S001C001P001R001A002": whole[:len(whole) // 2], "S001C001P001R001A003": whole.replace(b"\r\n25", b"\r\n20"),
           "S001C001P001R001A004": whole.replace(b".", b"x", 1), "S001C001P001R001A005": b"",
           "S001C001P001R001A006": b"\x00" * 500, "S001C001P001R001A099": whole}
    for name, content in bad.items():
        (raw / f"{name}.skeleton").write_bytes(content)


def test_ntu_good_and_bad_files_together(tmp_path):
    write_ntu(tmp_path / "raw")
    done = prepare(get_card("ntu60"), tmp_path / "raw", tmp_path / "data")
    assert done.store.names == sorted(GOOD)
    assert done.report.dropped_by_rule == {"body-third": 1, "missing-skeletons-list": 1}
    assert sorted(name for name, _ in done.report.unreadable) == [
        f"S001C001P001R001A{action:03d}.skeleton" for action in (2, 3, 4, 5, 6, 99)]
    assert all("\n" not in why and name.removesuffix(".skeleton") in why for name, why in done.report.unreadable)
    assert done.store.meta["raw"]["policy"] == "motion/1"
    assert done.store.clip(2).xyz.shape == (2, 40, 25, 3)
    assert done.store.index["subject"].tolist() == [1, 1, 3]


def test_ntu_strict_fails_on_the_first_bad_file(tmp_path):
    write_ntu(tmp_path / "raw")
    with pytest.raises(BadData, match=r"S001C001P001R001A002\.skeleton: .*cut off|fields, expected"):
        prepare(get_card("ntu60"), tmp_path / "raw", tmp_path / "data", strict=True)


def test_the_number_of_workers_and_compiled_code_change_nothing(tmp_path, monkeypatch):
    write_ntu(tmp_path / "raw")
    digests = set()
    for workers, fast in ((1, "1"), (2, "1"), (1, "0")):
        monkeypatch.setenv("SSL_SKEL_FAST", fast)
        root = tmp_path / f"{workers}{fast}"
        digests.add(prepare(get_card("ntu60"), tmp_path / "raw", root, workers=workers).store.digest)
    assert len(digests) == 1


def test_pku_good_and_bad_files_together(tmp_path):
    raw, person = tmp_path / "raw", standing(30)
    write_pku(raw, "0002-L", pku_text(person, standing(30, 1)), [(1, 0, 10, 2), (2, 25, 31, 1), (3, 9, 4, 0)])
    write_pku(raw, "0003-L", pku_text(person), [(1, 0, 10)])
    write_pku(raw, "0004-L", pku_text(person), None)
    write_pku(raw, "0291-M", None, [(1, 0, 10, 1)])
    write_pku(raw, "0292-M", pku_text(person)[:-30], [(1, 0, 10, 1)])
    write_pku(raw, "0293-M", pku_text(person), [(4, 5, 30, 1)])
    done = prepare(get_card("pku-mmd-1"), raw, tmp_path / "data")
    assert done.store.names == ["0002-L-001", "0293-M-001"]
    assert done.report.dropped_by_rule == {"beyond-video": 1, "start-not-before-end": 1}
    reasons = dict(done.report.unreadable)
    assert set(reasons) == {"0003-L.txt", "0004-L.txt", "0291-M.txt", "0292-M.txt"}
    assert "3 fields, expected action,start,end,confidence" in reasons["0003-L.txt"]
    assert done.store.index["num_tracks"].tolist() == [2, 1]
    train, test = get_card("pku-mmd-1").get_split("xsub").select(done.store.index)
    assert (train.tolist(), test.tolist()) == ([True, False], [False, True])


def test_uwa3d_good_and_bad_files_together(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for view in (1, 2, 3):
        write_uwa3d(raw / f"a01_s01_e01_v0{view}.mat", stick_figure(30, view).swapaxes(1, 2))
    write_uwa3d(raw / "a02_s01_e01_v01.mat", stick_figure(30), dataset="B")
    (raw / "a03_s01_e01_v01.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\x00" * 300)
    done = prepare(get_card("uwa3d"), raw, tmp_path / "data")
    assert len(done.store) == 3
    np.testing.assert_allclose(done.store.clip(0).xyz[0], stick_figure(30, 1), atol=1e-6)
    assert {name for name, _ in done.report.unreadable} == {"a02_s01_e01_v01.mat", "a03_s01_e01_v01.mat"}


def test_sbu_good_and_bad_files_together(tmp_path):
    raw = np.random.default_rng(0).uniform(0.1, 0.9, (8, 2, 15, 3))
    write_sbu(tmp_path / "raw", "s01s02_01_001", sbu_text(raw))
    write_sbu(tmp_path / "raw", "s05s03_08_002", sbu_text(raw)[:-25])
    done = prepare(get_card("sbu"), tmp_path / "raw", tmp_path / "data")
    assert done.store.names == ["s01s02_01_001"]
    assert "s05s03_08_002: line 8" in done.report.unreadable[0][1]


@pytest.mark.parametrize("dataset", ["ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2", "uwa3d", "sbu"])
def test_folders_that_are_not_the_dataset(dataset, tmp_path):
    card, folder = get_card(dataset), tmp_path / "other"
    folder.mkdir()
    (folder / "readme.txt").write_text("x")
    with pytest.raises(DataMissing, match=r"no .* in "):
        prepare(card, folder, tmp_path / "data")
    with pytest.raises(DataMissing, match="no folder"):
        prepare(card, tmp_path / "none", tmp_path / "data")
    archive = shutil.make_archive(str(tmp_path / "raw"), "zip", folder)
    with pytest.raises(BadData, match="is a zip file"):
        prepare(card, Path(archive), tmp_path / "data")


def test_a_folder_of_bad_files_only(tmp_path):
    (tmp_path / f"{GOOD[0]}.skeleton").write_bytes(b"x")
    with pytest.raises(BadData, match=r"no clip could be kept .*'x' is not a number"):
        prepare(get_card("ntu60"), tmp_path, tmp_path / "data")
