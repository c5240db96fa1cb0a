"""The audit finds what is planted, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.data.audit import blocks as blocks_module
from ssl_skel.data.audit import near as near_module
from ssl_skel.data.audit.blocks import blocks
from ssl_skel.data.audit.hashes import duplicate_groups, hash_store, shared_rows
from ssl_skel.data.audit.names import check_names
from ssl_skel.data.audit.near import describe, near_pairs
from ssl_skel.data.audit.page import draw_clip, render_page
from ssl_skel.data.audit.quality import measure_store
from ssl_skel.data.audit.run import audit_dataset
from ssl_skel.data.card import Split, by_name
from ssl_skel.data.catalog import dataset_names, get_card
from ssl_skel.data.clip import RawClip
from ssl_skel.data.dataset import Dataset
from ssl_skel.data.layouts import KINECT_V2_25 as LAYOUT
from ssl_skel.data.memory import memory_store
from ssl_skel.data.store import Store

REAL = Path(os.environ.get("SSL_SKEL_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
CARD = get_card("ntu60")
FRAMES = 30
LEGS = [LAYOUT.joints.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("hip", "ankle", "foot")]


def figure() -> np.ndarray:
    """(25, 3) metres: a person who faces the camera (towards -z), so the right hand has the larger x."""
    height = dict(zip(LAYOUT.joints, [0] * 25)) | {
        "base_of_spine": 0.9, "middle_of_spine": 1.1, "neck": 1.5, "head": 1.65, "spine_shoulder": 1.4}
    pose = np.zeros((25, 3))
    for number, name in enumerate(LAYOUT.joints):
        side = -1 if name.startswith("left") else 1 if name.startswith("right") else 0
        joint = name.split("_", 1)[1] if side else name
        x, y = {"shoulder": (0.18, 1.38), "elbow": (0.3, 1.1), "wrist": (0.35, 0.85), "hand": (0.36, 0.8),
                "hand_tip": (0.37, 0.74), "thumb": (0.33, 0.78), "hip": (0.1, 0.88), "knee": (0.12, 0.48),
                "ankle": (0.13, 0.08), "foot": (0.14, 0.02)}.get(joint, (0.0, height[name]))
        pose[number] = side * x, y, -0.15 if joint == "foot" else 0.0
    return pose


def moving(seed: int, frames: int = FRAMES, place: float = 0.0) -> np.ndarray:
    """(T, 25, 3) float32: the figure swings its limbs in its own way, at z = 3 m."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, frames)[:, None, None]
    phase, pace = rng.uniform(0, 6, (1, 25, 3)), rng.uniform(1, 4, (1, 1, 3))
    swing = 0.12 * np.sin(pace * 6 * time + phase.mean(axis=1, keepdims=True)) + 0.02 * np.sin(6 * time + phase)
    lean = rng.normal(0, 0.1, (1, 25, 3)) * [1, 0.3, 0.3]
    lean[:, LEGS], swing[:, LEGS] = 0, 0
    return (figure() + swing + lean + [place, 0, 3]).astype(np.float32)


def clip(name: str, *persons: np.ndarray, label: int | None = None, subject: int | None = None) -> RawClip:
    xyz = np.stack(persons)
    fields = {"label": int(name[17:20]) - 1, "subject": int(name[9:12]), "view": int(name[5:8]), "setup": 1,
              "repetition": 1}
    fields |= {key: value for key, value in (("label", label), ("subject", subject)) if value is not None}
    return RawClip(name, xyz, np.ones(xyz.shape[:3], bool), **fields)


def name_of(subject: int, action: int, camera: int = 1) -> str:
    return f"S001C{camera:03d}P{subject:03d}R001A{action:03d}"


def world(**changes: RawClip) -> dict[str, RawClip]:
    """24 clips of subjects 1, 2 (training) and 3, 6 (test), all different; by name, with some replaced."""
    names = [name_of(subject, action) for subject in (1, 2, 3, 6) for action in range(1, 7)]
    clips = {name: clip(name, moving(seed)) for seed, name in enumerate(names)}
    return clips | {new.name: new for new in changes.values()}


def store_of(clips: dict[str, RawClip]) -> Store:
    return memory_store(CARD, clips.values(), "test")


def audit(store: Store, card=CARD) -> dict:
    return audit_dataset("ntu60", Dataset(store, card))


def split_of(report: dict, name: str = "xsub") -> dict:
    return next(split for split in report["splits"] if split["name"] == name)


def flagged(report: dict, check: str) -> list[str]:
    return [name for name, _ in next(c for c in report["checks"] if c["name"] == check)["worst"]]


TRAIN, TEST = name_of(1, 1), name_of(3, 2)


def test_a_clean_dataset_gives_no_finding():
    report = audit(store_of(world()))
    assert [line for line in report["findings"] if "xview" not in line] == []
    assert all(check["flagged"] == 0 for check in report["checks"])


def test_a_planted_duplicate_is_found_and_only_it():
    clips = world()
    clips[TEST] = clip(TEST, clips[TRAIN].xyz[0])
    report = audit(store_of(clips))
    assert split_of(report)["duplicates"] == {"test_clips": 1, "pairs": [[TEST, TRAIN]]}
    assert split_of(report)["near"]["pairs"] == []
    assert split_of(report)["shared_frames"]["test_clips"] == 0
    assert report["duplicates"]["groups"] == [[TRAIN, TEST]]
    assert any("1 of 12 test clips are bit-identical" in line for line in report["findings"])


def test_a_duplicate_within_training_is_no_leak():
    clips = world()
    clips[name_of(2, 3)] = clip(name_of(2, 3), clips[TRAIN].xyz[0])
    report = audit(store_of(clips))
    assert split_of(report)["duplicates"]["test_clips"] == 0
    assert report["duplicates"]["clips"] == 2


def test_the_sign_of_zero_does_not_hide_a_duplicate_and_one_bit_does():
    clips = world()
    base = moving(0)
    base[3, 4] = [0.0, 1.0, 3.0]
    other = base.copy()
    other[3, 4, 0] = -0.0
    clips[TRAIN], clips[TEST] = clip(TRAIN, base), clip(TEST, other)
    assert split_of(audit(store_of(clips)))["duplicates"]["test_clips"] == 1
    other[3, 4, 1] = np.nextafter(np.float32(1), np.float32(2))
    clips[TEST] = clip(TEST, other)
    report = split_of(audit(store_of(clips)))
    assert report["duplicates"]["test_clips"] == 0
    assert report["near"]["pairs"][0][:2] == [TEST, TRAIN]


def test_planted_frames_are_counted():
    clips = world()
    mixed = moving(99)
    mixed[10:17] = clips[TRAIN].xyz[0][3:10]
    clips[TEST] = clip(TEST, mixed)
    assert split_of(audit(store_of(clips)))["shared_frames"] == {
        "test_clips": 1, "rows": 7, "worst": [[TEST, 7, FRAMES]]}


@pytest.mark.parametrize("change", [
    lambda xyz: xyz + np.float32([2, 0.3, 1]),
    lambda xyz: xyz + np.random.default_rng(0).normal(0, 0.004, xyz.shape).astype(np.float32),
    lambda xyz: (xyz @ np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])).astype(np.float32),
    lambda xyz: np.repeat(xyz, 2, axis=0),
], ids=["moved", "noisy", "turned", "slower"])
def test_a_planted_near_duplicate_is_found_and_only_it(change):
    clips = world()
    clips[TEST] = clip(TEST, change(clips[TRAIN].xyz[0]))
    report = split_of(audit(store_of(clips)))
    assert [pair[:2] for pair in report["near"]["pairs"]] == [[TEST, TRAIN]]
    assert report["duplicates"]["test_clips"] == 0


def test_a_planted_subject_overlap_is_found():
    def leaky(index):
        test = index["label"] == 0
        return ~test, test

    splits = by_name(Split("xsub", "cross-subject, or so it says", leaky, (1,), disjoint_by="subject"),
                     Split("odd", "by halves", CARD.get_split("xsub").select, (1,), disjoint_by="subject"),
                     Split("free", "by action", leaky, (1,)))
    report = audit(store_of(world()), replace(CARD, splits=splits))
    assert split_of(report)["overlap"] == {"column": "subject", "values": [1, 2, 3, 6], "test_clips": 4}
    assert split_of(report, "odd")["overlap"]["values"] == []
    assert split_of(report, "free")["overlap"]["column"] == ""
    assert any("claims to be disjoint by subject, but 1, 2, 3, 6" in line for line in report["findings"])


@pytest.mark.parametrize("dataset", dataset_names())
def test_every_split_says_what_its_parts_must_not_share(dataset):
    columns = {"xsub": "subject", "xset": "setup", "xview": "view", "fold": "subject", "oneshot": "label", "v": "view"}
    for name, split in get_card(dataset).splits.items():
        assert split.disjoint_by == next(column for start, column in columns.items() if name.startswith(start))


def test_names_that_disagree_with_the_index():
    clips = world(a=clip(name_of(1, 1), moving(0), label=7), b=clip(name_of(3, 1), moving(1), subject=2))
    store = store_of(clips)
    assert check_names(store) == [
        {"clip": name_of(1, 1), "field": "label", "name_says": 0, "index_says": 7},
        {"clip": name_of(3, 1), "field": "subject", "name_says": 3, "index_says": 2}]
    other = replace(store, meta={**store.meta, "dataset": "synthetic"})
    assert check_names(other) is None
    assert len(check_names(replace(store, meta={**store.meta, "dataset": "sbu"}))) == len(store)


@pytest.mark.parametrize(("dataset", "name", "fields"), [
    ("nw-ucla", "a08_s02_e03_v01", (6, 2, 1, 0, 3)), ("uwa3d", "a08_s02_e03_v01", (7, 2, 1, 0, 3)),
    ("sbu", "s02s06_07_003", (6, 6, 0, 0, 3)), ("pku-mmd-1", "0043-M-012", (5, 43, 2, 0, 12)),
    ("pku-mmd-2", "A20N07-R-001", (5, 7, 3, 20, 1)), ("ntu120", "S018C002P041R001A061", (60, 41, 2, 18, 1)),
])
def test_names_of_every_dataset(dataset, name, fields):
    card = get_card(dataset)
    joints = card.get_layout().num_joints
    xyz = np.ones((1, 2, joints, 3), np.float32)
    made = RawClip(name, xyz, np.ones(xyz.shape[:3], bool), *fields)
    assert check_names(memory_store(card, [made], "test")) == []
    wrong = replace(made, subject=99)
    assert [item["field"] for item in check_names(memory_store(card, [wrong], "test"))] == ["subject"]


def planted(check: str) -> RawClip:
    """A clip with one fault."""
    xyz = moving(50)
    if check == "one-frame":
        return clip(TEST, xyz[:1])
    if check == "constant":
        return clip(TEST, np.repeat(xyz[:1], FRAMES, axis=0))
    if check == "missing-joints":
        made = clip(TEST, xyz)
        made.valid[0, 4, 7] = False
        return made
    if check == "bone-jump":
        xyz[12] = xyz[12, :1] + 1.8 * (xyz[12] - xyz[12, :1])
    if check == "sides-swapped":
        xyz[14:] = xyz[14:, LAYOUT.mirror]
    if check == "mirrored":
        xyz = xyz[:, LAYOUT.mirror]
    if check == "persons-swapped":
        other = moving(51, place=1.0)
        xyz, other = np.where((np.arange(FRAMES) < 20)[:, None, None], [xyz, other], [other, xyz]).astype(np.float32)
        return clip(TEST, xyz, other)
    return clip(TEST, xyz)


CHECKED = ["one-frame", "constant", "missing-joints", "bone-jump", "persons-swapped", "sides-swapped", "mirrored"]


@pytest.mark.parametrize("check", CHECKED)
def test_a_planted_fault_is_flagged_and_by_its_own_check(check):
    report = audit(store_of(world(a=planted(check))))
    assert flagged(report, check) == [TEST]
    others = set(CHECKED) - {check} - ({"bone-jump"} if check.endswith("-swapped") else set())
    assert {other: flagged(report, other) for other in others} == {other: [] for other in others}


def test_faults_are_measured():
    values = {check: measure_store(store_of({TEST: planted(check)}), 1.0)[check][0] for check in CHECKED}
    assert values["missing-joints"] == 1
    assert values["persons-swapped"] == 1
    assert values["sides-swapped"] == 1
    assert values["mirrored"] == 1
    assert values["bone-jump"] == pytest.approx(0.8, abs=0.15)


def test_rows_that_are_not_finite_and_clips_without_a_joint():
    store = store_of(world())
    rows, valid = store.rows.copy(), store.valid.copy()
    rows[5, 3, 1] = np.nan
    first = store.tracks["offset"][store.index["first_track"][4]]
    valid[first:first + FRAMES] = 0
    report = audit(replace(store, rows=rows, valid=valid))
    assert flagged(report, "not-finite") == [store.names[0]]
    assert flagged(report, "empty") == [store.names[4]]


def test_equal_hashes_are_not_believed():
    store = store_of(world())
    assert duplicate_groups(store, np.zeros(len(store), np.uint64)) == []


def test_persons_that_come_later_and_leave_earlier():
    first, second = moving(1), moving(2, place=1.0)
    made = clip(TEST, first, second)
    made.valid[1, :9], made.valid[1, 25:] = False, False
    store = store_of({TEST: made, TRAIN: clip(TRAIN, first)})
    assert measure_store(store, 1.0)["persons-swapped"].tolist() == [0, 0]
    rows = hash_store(store).rows
    assert shared_rows(store, rows, np.array([0]), np.array([1])).tolist() == [FRAMES]
    assert shared_rows(store, rows, np.array([1]), np.array([0])).tolist() == [FRAMES]


@given(st.integers(1, 400))
@settings(max_examples=12, deadline=None)
def test_blocks_of_any_size_give_the_same(rows):
    store = store_of(world(a=planted("persons-swapped"), b=clip(name_of(6, 6), moving(3, 7), moving(4, 7))))
    cut = list(blocks(store, rows))
    assert sum(map(len, cut)) == len(store)
    assert sum(len(block.rows) for block in cut) == len(store.rows)
    np.testing.assert_array_equal(np.concatenate([block.frame_of for block in cut]),
                                  next(blocks(store, 10**9)).frame_of)
    whole, measured = hash_store(store), measure_store(store, 1.0)
    described = np.concatenate([describe(block, store.layout, 1.0) for block in cut])
    np.testing.assert_allclose(described, describe(next(blocks(store, 10**9)), store.layout, 1.0), atol=1e-6)
    old = blocks_module.blocks.__defaults__
    blocks_module.blocks.__defaults__ = (rows,)
    try:
        np.testing.assert_array_equal(hash_store(store).clips, whole.clips)
        for name, values in measure_store(store, 1.0).items():
            np.testing.assert_allclose(values, measured[name], err_msg=name)
    finally:
        blocks_module.blocks.__defaults__ = old


@pytest.mark.parametrize("tile", [5, 4096])
def test_near_pairs_are_those_of_brute_force(tile, monkeypatch):
    monkeypatch.setattr(near_module, "TILE", tile)
    rng = np.random.default_rng(0)
    clips = {}
    for number in range(40):
        name = name_of(number % 4 + 1, number + 1)
        noise = rng.normal(0, rng.uniform(0, 0.05), (FRAMES, 25, 3))
        clips[name] = clip(name, (moving(number % 6) + noise).astype(np.float32))
    store = store_of(clips)
    described = describe(next(blocks(store, 10**9)), store.layout, 1.0).reshape(40, -1, 3)
    used = (described != 0).any(axis=2).sum(axis=1).max()
    distance = np.sqrt(((described[:, None] - described[None])**2).sum(axis=(2, 3)) / used)
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if distance[i, j] <= 0.06}
    assert 10 < len(expected) < 400
    found = near_pairs(store, 0.06)
    assert set(zip(found.first.tolist(), found.second.tolist())) == expected
    np.testing.assert_allclose(found.distance, distance[found.first, found.second], atol=1e-4)
    assert (np.diff(found.distance) >= 0).all()


def test_many_near_pairs_are_capped_and_said_so(monkeypatch):
    monkeypatch.setattr(near_module, "MAX_PAIRS", 3)
    store = store_of({name_of(1, a): clip(name_of(1, a), moving(0)) for a in range(1, 8)})
    found = near_pairs(store, 0.01)
    assert found.capped
    assert len(found.first) == 3
    assert any("some near pairs may be missing" in line for line in audit(store)["findings"])


def test_clips_of_one_set_inside_another_by_name_and_by_content():
    clips = world()
    other = {name: clip(name, moving(100 + seed)) for seed, name in enumerate(clips) if seed % 2}
    other["S001C001P003R001A060"] = clip("S001C001P003R001A060", clips[TRAIN].xyz[0])
    report = audit_dataset("ntu60", Dataset(store_of(clips), CARD), ("other", Dataset(store_of(other), CARD)))
    pair = next(pair for pair in report["against"]["splits"]
                if (pair["pretrain_split"], pair["test_split"]) == ("xsub", "xsub"))
    assert (pair["test"], pair["same_name"], pair["same_content"]) == (7, 0, 1)
    assert pair["clips"] == ["S001C001P003R001A060"]
    pair = next(pair for pair in report["against"]["splits"]
                if (pair["pretrain_split"], pair["test_split"]) == ("xsub", "xview"))
    assert "problem" in split_of(report, "xview")
    assert pair["same_name"] == 6
    assert any(line.startswith("pretraining on xsub sees") for line in report["findings"])


def test_page_and_pictures_hold_no_link_and_escape_names():
    clips = world(a=planted("bone-jump"))
    store = store_of(clips)
    report = audit(store)
    report["findings"].append("<script>alert(1)</script>")
    page = render_page(report, store)
    assert page.count("<img") == 1
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    picture = draw_clip(store, 0)
    assert picture.count("<path") == 8
    assert "nan" not in picture


def test_command_writes_json_and_page(tmp_path, monkeypatch):
    from ssl_skel.cli.data_audit import audit as command
    from ssl_skel.data import dataset

    clips = world()
    clips[TEST] = clip(TEST, clips[TRAIN].xyz[0])
    monkeypatch.setattr(dataset, "open_dataset", lambda name, root: Dataset(store_of(clips), CARD))
    out = ["--out", str(tmp_path), "--data-root", str(tmp_path)]
    shown = CliRunner().invoke(command, ["ntu60", *out])
    assert shown.exit_code == 0, shown.output
    assert "found: split xsub: 1 of 12 test clips are bit-identical to a training clip" in shown.output
    assert TEST in (tmp_path / "audit" / "ntu60" / "index.html").read_text()
    printed = CliRunner().invoke(command, ["ntu60", "--json", *out])
    assert json.loads(printed.stdout) == json.loads((tmp_path / "audit" / "ntu60" / "audit.json").read_text())


@pytest.mark.real_data
def test_nw_ucla_has_exactly_95_duplicated_test_clips(tmp_path):
    from ssl_skel.data.prepare import prepare

    if not (REAL / "nw-ucla").is_dir():
        pytest.skip(f"no real NW-UCLA data in {REAL}")
    card = get_card("nw-ucla")
    store = prepare(card, REAL / "nw-ucla", tmp_path).store
    report = audit_dataset("nw-ucla", Dataset(store, card))
    found = split_of(report, "v3")["duplicates"]
    assert found["test_clips"] == 95
    assert all(test[:3] in ("a02", "a03") and test.endswith("v03") and train == test[:-1] + "2"
               for test, train in found["pairs"])
    clean = split_of(report, "v3-clean")
    assert (clean["duplicates"]["test_clips"], clean["shared_frames"]["test_clips"]) == (0, 0)
    assert report["near"]["pairs"] == 0 == len(report["names"])
    assert flagged(report, "one-frame") == ["a02_s09_e04_v02", "a02_s09_e04_v03"]
    assert sorted(flagged(report, "missing-joints")) == ["a04_s01_e01_v01", "a04_s04_e02_v01"]
