"""A family that would leave clips as they are is refused, and one that does something else says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from helpers.raw_ucla import write_folder
from helpers.tiny import CARD, Workshop
from ssl_skel.cli.data import data
from ssl_skel.data import memory
from ssl_skel.data.audit.run import audit_dataset
from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.dataset import Dataset
from ssl_skel.data.families import NOTES
from ssl_skel.data.layouts import get_layout
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.data.seen import SAMPLED, replaced, unseen, unusable
from ssl_skel.data.store import Store

LAYOUT = get_layout("nite_15")
TORSO = {"per-frame", "view-aligned", "body-aligned"}


def store_without(*joints: int, clips: int = 40, card: DatasetCard = CARD, only_from: int = 0) -> Store:
    """Clips that do not show some joints; those before `only_from` do."""
    rng, made = np.random.default_rng(0), []
    for number in range(clips):
        valid = np.ones((1, 5, 15), bool)
        if number >= only_from:
            valid[..., list(joints)] = False
        xyz = rng.normal(size=(1, 5, 15, 3)).astype(np.float32) * valid[..., None]
        made.append(RawClip(f"c{number:04}", xyz, valid, number % 3, 1 + number % 4))
    return memory.memory_store(card, made, "made")


def test_a_store_that_shows_all_joints_is_fine_with_every_family() -> None:
    assert unseen(store_without()) == []


@pytest.mark.parametrize(("joint", "refused", "other"), [
    (LAYOUT.centre, TORSO, {"first-frame", "per-body", "body-aligned"}),
    (LAYOUT.shoulders[0], {"per-body", "view-aligned", "body-aligned"}, set())])
def test_families_that_go_by_a_joint_nobody_sees(joint: int, refused: set[str], other: set[str]) -> None:
    store = store_without(joint)
    assert {family for family in NOTES if unusable(store, family)} == refused
    assert {family for family in NOTES if replaced(store, family)} == other
    for family in refused:
        line = unusable(store, family)
        assert f"{LAYOUT.joints[joint]!r}" in line
        assert "first-frame" in line.partition("set the preprocessing to")[2]


def test_joints_have_to_be_seen_together() -> None:
    rng = np.random.default_rng(0)
    valid = np.ones((1, 4, 15), bool)
    valid[0, :2, LAYOUT.centre], valid[0, 2:, list(LAYOUT.shoulders)] = False, False
    clip = RawClip("c", rng.normal(size=(1, 4, 15, 3)).astype(np.float32) * valid[..., None], valid, 0, 1)
    store = memory.memory_store(CARD, [clip], "made")
    assert {family for family in NOTES if unusable(store, family)} == {"view-aligned", "body-aligned"}


def test_few_clips_of_a_large_store_are_looked_at() -> None:
    store, looked = store_without(LAYOUT.centre, clips=400), []

    class Counting:
        def __getitem__(self, rows: slice) -> np.ndarray:
            looked.append(rows)
            return store.valid[rows]

    assert unusable(replace(store, valid=Counting()), "per-frame")  # type: ignore[arg-type]
    assert 0 < len(looked) <= SAMPLED * 10
    assert not unusable(store_without(LAYOUT.centre, clips=400, only_from=390), "per-frame")


def test_a_plan_refuses_the_family_and_warns_of_what_another_does(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop(tmp_path)
    monkeypatch.setattr("helpers.tiny.make", lambda card: store_without(LAYOUT.centre, card=card))
    plan = shop.plan()
    assert any("first-frame goes by 'torso'" in line and "subtracts the mean" in line for line in plan.warnings)
    assert len(plan.evaluations) == 1
    monkeypatch.setattr("helpers.tiny.CARD", replace(CARD, preprocessing="view-aligned"))
    plan = shop.plan()
    assert not plan.evaluations
    assert [(one.plugin, one.dataset) for one in plan.refused] == [("preprocessing view-aligned", "tiny/xsub")]
    assert "would turn nothing" in plan.refused[0].reason


def test_the_audit_and_prepare_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = audit_dataset("tiny", Dataset(store_without(LAYOUT.centre, clips=12), CARD))
    assert any("view-aligned goes by 'torso'" in line for line in report["findings"])
    read = NwUclaReader.read

    def blind(self: NwUclaReader, path: Path) -> object:
        for clip in read(self, path):
            clip.valid[..., 1] = False  # type: ignore[union-attr]
            clip.xyz[..., 1, :] = 0  # type: ignore[union-attr]
            yield clip

    monkeypatch.setattr(NwUclaReader, "read", blind)
    raw = write_folder(tmp_path / "raw", 12)
    done = CliRunner().invoke(data, ["prepare", "nw-ucla", "--raw", str(raw), "--data-root", str(tmp_path),
                                     "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert "warning: nw-ucla: per-frame goes by 'spine' of kinect_v1_20" in done.output
