from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.records import fill, make_record
from ssl_skel.bench.compare import compare
from ssl_skel.bench.pairing import ClipSet, join_shared
from ssl_skel.bench.performers import Performers
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import BadRecord, DataMissing, UnknownName, UsageMistake


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    pairs = [make_record(accuracy + 0.1 * (dataset == "sbu"), plugin=plugin, dataset=dataset, split="v3", seed=seed)
             for plugin, accuracy in (("moco", 0.7), ("simclr", 0.5)) for dataset in ("nw-ucla", "sbu")
             for seed in (0, 1)]
    return fill(tmp_path, *pairs, make_record(0.6, plugin="simclr", streams="other"),
                make_record(0.6, plugin="byol", seed=7))


def test_differences_by_hand(store: RecordStore) -> None:
    found = compare(store, "moco", "simclr:encoder", store.all())
    first, second = found.each
    assert [item.place[0] for item in found.each] == ["nw-ucla", "sbu"]
    assert first.rows == ("moco:st-gcn:encoder", "simclr:st-gcn:encoder")
    assert (first.seeds, first.n) == ((0, 1), 60)
    assert (first.a, first.b) == (pytest.approx(0.7), pytest.approx(0.5))
    assert first.found.difference == pytest.approx(0.2)
    # 12 clips are right in A only: the exact sign test gives 2 / 2^12, twice for two seeds, twice for two test sets.
    assert first.mcnemar[0].only_a == 12
    assert first.mcnemar[0].only_b == 0
    assert first.mcnemar[0].p_exact == pytest.approx(2 / 2**12)
    assert first.p_holm == pytest.approx(4 * 2 / 2**12)
    assert second.p_holm == pytest.approx(first.p_holm)
    assert first.resolvable == pytest.approx(1.96 * np.sqrt(12) / 60, rel=1e-3)
    overall = found.over_all["linear"]
    assert overall.found.difference == pytest.approx(0.2)
    assert (overall.splits, overall.sets, overall.clips) == (2, 2, 120)
    assert overall.found.high - overall.found.low < first.found.high - first.found.low
    assert overall.resolvable == pytest.approx((overall.found.high - overall.found.low) / 2)


def test_the_other_way_round_has_the_other_sign(store: RecordStore) -> None:
    one, other = (compare(store, a, b, store.all()).each[0].found
                  for a, b in (("moco", "simclr:encoder"), ("simclr:encoder", "moco")))
    assert other.difference == -one.difference


def test_two_records_by_their_ids(store: RecordStore) -> None:
    a, b = (next(record for record in store.all() if record.cell.plugin == plugin and record.cell.seed == 1)
            for plugin in ("moco", "simclr"))
    item, = compare(store, a.id, b.id, store.all()).each
    assert item.seeds == (1,)


def test_requests_that_name_nothing_or_too_much(store: RecordStore) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'moco'"):
        compare(store, "moc", "simclr", store.all())
    with pytest.raises(UsageMistake, match="fits several rows of nw-ucla v3 linear"):
        compare(store, "moco", "simclr", store.all())
    with pytest.raises(UsageMistake, match="no dataset, split, evaluator and seed in common"):
        compare(store, "moco", "byol", store.all())
    with pytest.raises(UnknownName):
        compare(store, "moco:nothing", "simclr", store.all())


def test_a_row_without_a_label_is_meant_where_none_is_named(store: RecordStore) -> None:
    store.write(*make_record(0.9, plugin="moco", seed=1, label="other"))
    plain = compare(store, "moco", "simclr:encoder", store.all())
    assert all(item.rows[0] == "moco:st-gcn:encoder" for item in plain.each)
    assert compare(store, "moco:other", "simclr:encoder", store.all()).each[0].rows[0] == "moco:other:st-gcn:encoder"


def test_records_of_one_seed_and_other_settings_are_not_mixed(store: RecordStore) -> None:
    store.write(*make_record(0.9, plugin="moco", config__task={"queue": 1}))
    with pytest.raises(UsageMistake, match="of one seed"):
        compare(store, "moco", "simclr:encoder", store.all())


def test_other_clips_and_changed_predictions_are_refused(store: RecordStore) -> None:
    store.write(*make_record(0.9, plugin="dino", n=40))
    with pytest.raises(UsageMistake, match="different clips"):
        compare(store, "moco", "dino", store.all())
    record = next(r for r in store.all() if r.cell.plugin == "moco")
    store.predictions_path(record.id).unlink()
    with pytest.raises(BadRecord, match="missing"):
        compare(store, "moco", "simclr:encoder", store.all())


def test_clips_that_two_splits_share_count_once(tmp_path: Path) -> None:
    """A split and its clean twin of the same predictions: the joined interval is that of the larger one alone."""
    pairs = [make_record(accuracy, plugin=plugin, split=split, n=n, digests__split=split * 4)
             for plugin, accuracy in (("moco", 0.7), ("simclr", 0.5)) for split, n in (("v3", 60), ("v3-clean", 40))]
    store = fill(tmp_path, *pairs)
    found = compare(store, "moco", "simclr", store.all())
    overall = found.over_all["linear"]
    assert (overall.splits, overall.sets, overall.clips) == (2, 1, 60)
    whole = next(item.found for item in found.each if item.n == 60)
    # Right in A only: clips 30 to 41 of 60 in v3, 20 to 27 of 40 in its twin, where 30 to 41 count half in both.
    assert overall.found.difference == pytest.approx((8 * 0.5 + 10 * 0.5 + 2) / 60)
    assert overall.found.high - overall.found.low > 0.6 * (whole.high - whole.low)


def test_sets_are_joined_by_hand() -> None:
    one = ClipSet("nw-ucla", ("a", "b", "c"), np.array([1.0, 1.0, 0.0]), np.zeros(3))
    twin = ClipSet("nw-ucla", ("c", "b"), np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    other = ClipSet("sbu", ("a",), np.ones(1), np.zeros(1))
    joined = join_shared([one, other, twin])
    assert [both.a.tolist() for both in joined] == [[1, 1, 0.5], [1]]
    assert [both.b.tolist() for both in joined] == [[0, 0.5, 0], [0]]


def test_whole_subjects_are_resampled_where_they_are_known(store: RecordStore) -> None:
    def subjects_of(dataset: str, clips: tuple[str, ...]) -> np.ndarray:
        return np.arange(len(clips)) // 10  # A wins 12 of the 60 clips, 10 of subject 3 and 2 of subject 4

    found = compare(store, "moco", "simclr:encoder", store.all(), subjects_of)
    first = found.each[0]
    assert first.by_subject is not None
    assert first.by_subject.difference == pytest.approx(first.found.difference)
    assert first.by_subject.high - first.by_subject.low > 1.5 * (first.found.high - first.found.low)
    overall = found.over_all["linear"]
    assert overall.by_subject is not None
    assert overall.by_subject.difference == pytest.approx(overall.found.difference)
    assert compare(store, "moco", "simclr:encoder", store.all()).each[0].by_subject is None


def test_subjects_of_joined_sets() -> None:
    one = ClipSet("nw-ucla", ("a", "b", "c"), np.ones(3), np.zeros(3), np.array([4, 5, 6]))
    twin = ClipSet("nw-ucla", ("c", "d"), np.ones(2), np.zeros(2), np.array([6, 7]))
    (joined,) = join_shared([one, twin])
    assert joined.subjects is not None
    assert joined.subjects.tolist() == [4, 5, 6, 7]


def test_performers_are_those_of_the_prepared_clips(tmp_path: Path) -> None:
    performers = Performers(tmp_path)
    names = ("c02_s03_e01_v2", "c01_s01_e02_v1")
    assert performers("synthetic", names).tolist() == [3, 1]
    with pytest.raises(DataMissing, match="holds no clip clip-000"):
        performers("synthetic", ("clip-000",))
    with pytest.raises(DataMissing, match="nw-ucla is not prepared"):
        performers("nw-ucla", names)


def test_ntu120_holds_the_clips_of_ntu60() -> None:
    clips = ("S001C001P001R001A001", "S001C001P001R001A002")
    sets = [ClipSet(name, clips, np.ones(2), np.zeros(2)) for name in ("ntu60", "ntu120", "nw-ucla")]
    assert len(join_shared(sets[:2])) == 1
    names = [ClipSet(name, ("clip-1",), np.ones(1), np.zeros(1)) for name in ("ntu60", "sbu")]
    assert len(join_shared(names)) == 2


@given(st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=6))
def test_joined_sets_hold_every_clip_once(parts: list[set[int]]) -> None:
    sets = [ClipSet("d", tuple(map(str, part)), np.ones(len(part)), np.zeros(len(part))) for part in parts]
    joined = join_shared(sets)
    assert sum(len(both.a) for both in joined) == len(set.union(*parts))
    assert all((both.a == 1).all() for both in joined)
