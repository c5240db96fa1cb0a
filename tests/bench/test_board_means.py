"""Means over the folds of a cross-validation: complete, unweighted, and traceable to their records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.files import check_boards, write_boards
from ssl_skel.bench.board.means import MEMBERS, mean_records, sources
from ssl_skel.bench.board.model import Table
from ssl_skel.bench.record import Record

GROUPS = {"sbu": {"folds": ("fold1", "fold2", "fold3")}}
SPLITS = GROUPS["sbu"]["folds"]


def folds(*accuracies: float, n: int = 60, **changes: Any) -> list[Record]:
    return [make_record(accuracy, dataset="sbu", split=split, n=n + 6 * number, digests__split=split * 2, **changes)[0]
            for number, (split, accuracy) in enumerate(zip(SPLITS, accuracies))]


def table_of(records: list[Record], **given: Any) -> Table:
    board = build_board(BoardInput(records, groups=GROUPS, **given), "made-up")
    return next(table for table in board.tables if table.split == "folds")


def test_the_mean_is_that_of_the_folds_each_counted_once():
    records = folds(0.3, 0.4, 0.8)
    (mean,) = mean_records(records, GROUPS)
    assert mean.metrics["top1"] == pytest.approx(sum(record.metrics["top1"] for record in records) / 3)
    assert mean.cell.split == "folds"
    assert mean.n.test == 60 + 66 + 72
    assert sources(mean) == list(mean.config[MEMBERS].values()) == [record.id for record in records]
    assert sources(records[0]) == [records[0].id]
    assert mean.ci95 == {}
    assert mean.digests.split not in {record.digests.split for record in records}


def test_the_order_of_the_records_does_not_matter():
    records = folds(0.3, 0.4, 0.8) + folds(0.1, 0.2, 0.3, seed=1) + folds(0.5, 0.6, 0.7, plugin="random")
    assert mean_records(records, GROUPS) == mean_records(records[::-1], GROUPS)
    assert len(mean_records(records, GROUPS)) == 3


@pytest.mark.parametrize("changes", [{"seed": 1}, {"config__frames": 20}, {"digests__dataset": "x" * 8},
                                     {"digests__plugin": "x" * 8}, {"evaluator": "knn"}, {"dataset": "sbu+npz"}])
def test_no_mean_of_what_does_not_belong_together_or_is_not_complete(changes):
    records = folds(0.3, 0.4, 0.8)
    assert not mean_records(records[:2], GROUPS)
    other = make_record(0.8, **{"dataset": "sbu", "split": "fold3", **changes})[0]
    assert not mean_records([*records[:2], other], GROUPS)


def test_a_board_ranks_means_in_a_table_of_their_own():
    records = folds(0.3, 0.4, 0.8) + folds(0.5, 0.5, 0.9, plugin="b") + folds(0.1, 0.1, 0.1, plugin="random")
    table = table_of(records, stale={records[1].id: ("plugin",)})
    assert [(row.key.plugin, row.rank) for row in table.rows()] == [("b", 1), ("simclr", 2), ("random", None)]
    assert table.n_test == 198
    first, second, floor = table.rows()
    assert second.stale == ("plugin",)
    assert first.interval is None
    assert first.delta is not None
    assert first.delta.low is None
    assert first.delta.value == pytest.approx((first.mean or 0) - (floor.mean or 0))
    assert not first.stale


def test_a_method_that_lacks_a_fold_has_no_mean_and_one_that_lacks_a_seed_no_rank():
    records = folds(0.3, 0.4, 0.8) + folds(0.3, 0.4, 0.8, seed=1) + folds(0.9, 0.9, 0.9, plugin="b")
    records += folds(0.9, 0.9, 0.9, plugin="c")[:2]
    board = build_board(BoardInput(records, groups=GROUPS), "made-up", incomplete=True)
    table = next(table for table in board.tables if table.split == "folds")
    assert [(row.key.plugin, row.rank, len(row.missing)) for row in table.rows()] == [("simclr", 1, 0), ("b", None, 1)]
    assert set(board.record_ids) == {record.id for record in records}


def test_boards_of_real_groups_are_written_checked_and_name_the_records(tmp_path: Path):
    pairs = [make_record(accuracy, dataset="sbu", split=f"fold{number}")
             for number, accuracy in enumerate((0.2, 0.3, 0.4, 0.5, 0.6), 1)]
    store = fill(tmp_path, *pairs)
    write_boards(store)
    folder = tmp_path / "boards" / "all"
    assert check_boards(store) == ["all"]
    tables = json.loads((folder / "board.json").read_text())["tables"]
    (row,) = next(table for table in tables if table["split"] == "folds")["tracks"][0]["rows"]
    assert row["mean"] == pytest.approx(0.4, abs=1e-3)
    assert sorted(row["records"]) == sorted(record.id for record, _ in pairs)
    page = (folder / "index.html").read_text()
    assert f'<a href="pages/cell-{pairs[2][0].id}.html">fold3</a>' in page
    assert "sbu folds" in (folder / "board.md").read_text()
