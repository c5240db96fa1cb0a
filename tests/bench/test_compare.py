from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.compare import compare
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import BadRecord, UnknownName, UsageMistake


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
    assert overall.difference == pytest.approx(0.2)
    assert overall.high - overall.low < first.found.high - first.found.low


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
