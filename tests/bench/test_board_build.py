from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.records import fill, make_record
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.model import Board, Row, Table, Track
from ssl_skel.bench.planfile import PlannedCell
from ssl_skel.bench.published import load_published
from ssl_skel.bench.record import Failure, Record
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import BadRecord

Pairs = list[tuple[Record, bytes]]


def board_of(pairs: Pairs, **given: Any) -> Board:
    options = {key: given.pop(key) for key in ("incomplete", "baseline") if key in given}
    return build_board(BoardInput([record for record, _ in pairs], **given), "made-up", **options)


def only(board: Board) -> Table:
    assert len(board.tables) == 1
    return board.tables[0]


def names(track: Track) -> list[str]:
    return [row.key.plugin for row in track.rows]


def row_of(table: Table, plugin: str) -> Row:
    return next(row for row in table.rows() if row.key.plugin == plugin)


# -- ranks -----------------------------------------------------------------------------------------------------


def test_rows_are_ranked_by_their_mean_and_equal_means_share_a_rank() -> None:
    pairs = [make_record(0.5, plugin="a"), make_record(0.8, plugin="b"), make_record(0.8, plugin="c"),
             make_record(0.3, plugin="d")]
    table = only(board_of(pairs))
    assert [(row.key.plugin, row.rank) for row in table.rows()] == [("b", 1), ("c", 1), ("a", 3), ("d", 4)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_ranks_are_those_of_the_definition_in_any_order(scores: list[int], rng: Any) -> None:
    pairs = [make_record(score / 20, plugin=f"p{i}", metrics={"top1": score / 20}) for i, score in enumerate(scores)]
    table = only(board_of(pairs))
    for row in table.rows():
        score = scores[int(row.key.plugin[1:])]
        assert row.rank == 1 + sum(other > score for other in scores)
    rng.shuffle(pairs)
    assert only(board_of(pairs)) == table


def test_floor_and_ceiling_stand_on_the_board_without_a_rank() -> None:
    pairs = [make_record(0.5), make_record(0.3, plugin="random", config__train__epochs=0),
             make_record(0.9, plugin="random", evaluator="finetune")]
    finetune, linear = board_of(pairs).tables
    assert [(row.key.plugin, row.role, row.rank) for row in linear.rows()] == [
        ("random", "ceiling", None), ("simclr", "ranked", 1), ("random", "floor", None)]
    assert linear.tracks[0].rows[0].evaluator == "finetune"
    assert [(row.role, row.rank) for row in finetune.rows()] == [("ceiling", None)]


def test_a_ceiling_of_other_test_clips_is_left_out() -> None:
    pairs = [make_record(0.5), make_record(0.9, plugin="random", evaluator="finetune", digests__split="other")]
    linear = next(table for table in board_of(pairs).tables if table.evaluator == "linear")
    assert names(linear.tracks[0]) == ["simclr"]


# -- seeds -----------------------------------------------------------------------------------------------------


def test_mean_spread_and_interval_over_seeds() -> None:
    pairs = [make_record(value, seed=seed) for seed, value in enumerate((0.4, 0.5, 0.6))]
    row = next(only(board_of(pairs)).rows())
    assert row.mean == pytest.approx(0.5)
    assert row.sd == pytest.approx(0.1)
    assert row.interval is not None
    # Student's t with 2 degrees of freedom: 4.303.
    assert row.interval.high - 0.5 == pytest.approx(4.30265 * 0.1 / math.sqrt(3), rel=1e-5)
    assert row.interval.over == "seeds"


def test_one_seed_shows_the_bootstrap_interval_of_its_record() -> None:
    row = next(only(board_of([make_record(0.5, ci95__top1=(0.41, 0.62))])).rows())
    assert row.sd is None
    assert row.interval is not None
    assert (row.interval.low, row.interval.high, row.interval.over) == (0.41, 0.62, "clips")


def planned(pairs: Pairs) -> list[PlannedCell]:
    return [PlannedCell(id=r.id, pretrain_id=r.pretrain_id, cell=r.cell) for r, _ in pairs]


def test_only_complete_rows_are_ranked_and_shown() -> None:
    plan = [make_record(0.5, plugin=plugin, seed=seed) for plugin in ("a", "b", "c") for seed in (0, 1)]
    done = [*plan[:3]]
    table = only(board_of(done, planned=planned(plan)))
    assert names(table.tracks[0]) == ["a"]
    assert table.hidden == 2
    reasons = [Failure.model_validate({"id": plan[4][0].pretrain_id, "cell": {}, "status": "diverged", "when": "",
                                       "stage": "pretrain", "message": "loss is NaN"})]
    table = only(board_of(done, planned=planned(plan), failures=reasons, incomplete=True))
    assert [(row.key.plugin, row.rank) for row in table.rows()] == [("a", 1), ("b", None), ("c", None)]
    assert table.hidden == 0
    lacking = {row.key.plugin: row.missing for row in table.rows()}
    assert [m.seed for m in lacking["b"]] == [1]
    assert [m.seed for m in lacking["c"]] == [0, 1]
    assert lacking["c"][0].reason == "diverged: loss is NaN"


def test_without_a_plan_a_row_waits_for_the_seeds_that_others_have() -> None:
    pairs = [make_record(0.9, plugin="a"), make_record(0.5, plugin="b"), make_record(0.5, plugin="b", seed=1)]
    table = only(board_of(pairs))
    assert names(table.tracks[0]) == ["b"]
    assert table.hidden == 1


def test_a_plan_without_any_record_gives_a_table_of_waiting_rows() -> None:
    plan = planned([make_record(0.5)])
    assert board_of([], planned=plan).tables == ()
    table = only(board_of([], planned=plan, incomplete=True))
    assert [row.missing[0].seed for row in table.rows()] == [0]


# -- what is comparable ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "said"), [
    ({"config__frames": 20}, "frames 20 instead of 40"),
    ({"config__preprocessing": {"name": "other", "version": 2}}, "preprocessing other v2 instead of view-aligned v1"),
    ({"digests__split": "x" * 8}, "split digest xxxxxxxx instead of ssssssss"),
    ({"digests__dataset": "x" * 8}, "data xxxxxxxx instead of dddddddd"),
    ({"n": 59}, "test clips 59 instead of 60"),
    ({"n__train": 99}, "training clips 99 instead of 100"),
    ({"config__train__epochs": 300}, "budget 300 epochs instead of 10 epochs"),
    ({"config__train__max_steps": 7}, "budget 10 epochs, at most 7 steps instead of 10 epochs"),
    ({"versions__evaluator": 2}, "protocol version 2 instead of 1"),
    ({"config__evaluator": {"k": 20}}, "protocol settings k 20 instead of defaults"),
    ({"versions__core": 9}, "core version 9 instead of None"),
])
def test_rows_that_differ_in_what_matters_are_ranked_apart(change: dict[str, Any], said: str) -> None:
    pairs = [make_record(0.5, plugin="a"), make_record(0.4, plugin="b"), make_record(0.9, plugin="c", **change)]
    main, other = only(board_of(pairs)).tracks
    assert [(row.key.plugin, row.rank) for row in main.rows] == [("a", 1), ("b", 2)]
    assert [(row.key.plugin, row.rank) for row in other.rows] == [("c", 1)]
    assert main.differs == ()
    assert other.differs == (said,)


def test_long_settings_that_differ_at_their_end_are_told_apart() -> None:
    lists = [[0.1] * 40, [0.1] * 39 + [0.2]]
    pairs = [make_record(0.5, plugin=f"p{i}", config__evaluator={"l2": values}) for i, values in enumerate(lists)]
    assert len(only(board_of(pairs)).tracks) == 2


def test_backbone_streams_and_method_settings_do_not_part_rows() -> None:
    pairs = [make_record(0.5), make_record(0.6, backbone="dgcnn"), make_record(0.7, streams="t+s", fusion="concat"),
             make_record(0.8, plugin="moco", config__task={"queue": 8}, config__train={"epochs": 10, "lr": 1.0})]
    assert len(only(board_of(pairs)).tracks) == 1


def test_an_untrained_floor_has_no_budget_and_stands_with_the_others() -> None:
    pairs = [make_record(0.5), make_record(0.2, plugin="random", config__train__epochs=0)]
    assert names(only(board_of(pairs)).tracks[0]) == ["simclr", "random"]


def test_rows_of_one_name_and_other_settings_are_told_apart_not_averaged() -> None:
    pairs = [make_record(0.5, config__task={"ratio": 0.1}), make_record(0.7, config__task={"ratio": 0.4}),
             make_record(0.6, config__task={"ratio": 0.4}, digests__plugin="older")]
    rows = list(only(board_of(pairs)).rows())
    assert [row.variant for row in rows] == ["ratio=0.4, plugin pppppppp", "ratio=0.4, plugin older",
                                             "ratio=0.1, plugin pppppppp"]
    assert [len(row.records) for row in rows] == [1, 1, 1]


# -- differences -----------------------------------------------------------------------------------------------


def test_difference_to_the_floor_is_a_paired_bootstrap(tmp_path: Path) -> None:
    pairs = [make_record(0.5), make_record(0.3, plugin="random")]
    store = fill(tmp_path, *pairs)
    delta = row_of(only(board_of(pairs, predictions=store.read_predictions)), "simclr").delta
    assert delta is not None
    assert delta.value == pytest.approx(0.2)
    # Paired: 12 of 60 clips only one has right, so sd of the mean is sqrt(.2 * .8 / 60) = 0.052.
    assert delta.low == pytest.approx(0.2 - 1.96 * 0.0516, abs=0.025)
    assert delta.high == pytest.approx(0.2 + 1.96 * 0.0516, abs=0.025)
    assert delta.against == "random st-gcn"
    assert delta.clear
    unpaired = row_of(only(board_of(pairs)), "simclr").delta
    assert unpaired is not None
    assert unpaired.low is None
    assert not unpaired.clear


def test_the_floor_of_the_same_backbone_is_compared_with() -> None:
    pairs = [make_record(0.5, backbone="dgcnn"), make_record(0.4, plugin="random", config__train__epochs=0),
             make_record(0.2, plugin="random", backbone="dgcnn", config__train__epochs=0)]
    delta = row_of(only(board_of(pairs)), "simclr").delta
    assert delta is not None
    assert delta.against == "random dgcnn"


def test_another_baseline_can_be_asked_for_and_has_no_difference_to_itself() -> None:
    pairs = [make_record(0.5), make_record(0.6, plugin="moco"), make_record(0.2, plugin="random")]
    table = only(board_of(pairs, baseline="moco"))
    deltas = {row.key.plugin: row.delta.value if row.delta else None for row in table.rows()}
    assert deltas == {"moco": None, "simclr": pytest.approx(-0.1), "random": pytest.approx(-0.4)}


def test_rows_that_the_clips_cannot_tell_apart_are_marked(tmp_path: Path) -> None:
    pairs = [make_record(0.8, plugin="a"), make_record(0.78, plugin="b"), make_record(0.3, plugin="c")]
    store = fill(tmp_path, *pairs)
    rows = list(only(board_of(pairs, predictions=store.read_predictions)).rows())
    assert [row.even for row in rows] == [True, True, False]


def test_rows_that_were_not_compared_are_not_called_alike(tmp_path: Path) -> None:
    """Predictions tell nothing about a mean average precision, so nobody knows whether the clips can tell two apart."""
    pairs = [make_record(0.8, plugin="a", primary="map", metrics={"map": 0.8, "top1": 0.8}),
             make_record(0.7, plugin="b", primary="map", metrics={"map": 0.2, "top1": 0.7})]
    store = fill(tmp_path, *pairs)
    rows = list(only(board_of(pairs, predictions=store.read_predictions)).rows())
    assert [row.even for row in rows] == [True, False]


def test_a_number_that_is_no_accuracy_gets_no_paired_interval(tmp_path: Path) -> None:
    pairs = [make_record(0.5, primary="map", metrics={"map": 0.4, "top1": 0.5}),
             make_record(0.3, plugin="random", primary="map", metrics={"map": 0.1, "top1": 0.3})]
    store = fill(tmp_path, *pairs)
    table = only(board_of(pairs, predictions=store.read_predictions))
    delta = row_of(table, "simclr").delta
    assert table.metric == "map"
    assert delta is not None
    assert (delta.value, delta.low) == (pytest.approx(0.3), None)


def test_predictions_of_other_clips_are_not_paired(tmp_path: Path) -> None:
    pairs = [make_record(0.5), make_record(0.3, plugin="random", n=40)]
    store = fill(tmp_path, *pairs)
    assert row_of(only(board_of(pairs, predictions=store.read_predictions)), "simclr").delta is None


def test_clips_in_another_order_are_not_paired(tmp_path: Path) -> None:
    pairs = [make_record(0.5), make_record(0.3, plugin="random")]
    store = fill(tmp_path, *pairs)
    header, *lines = pairs[1][1].splitlines(keepends=True)
    store.write(pairs[1][0], b"".join([header, *reversed(lines)]))
    delta = row_of(only(board_of(store_pairs(store), predictions=store.read_predictions)), "simclr").delta
    assert delta is not None
    assert (delta.value, delta.low) == (pytest.approx(0.2), None)


def store_pairs(store: RecordStore) -> Pairs:
    return [(record, b"") for record in store.all()]


def test_changed_predictions_stop_the_board(tmp_path: Path) -> None:
    pairs = [make_record(0.5), make_record(0.3, plugin="random")]
    store = fill(tmp_path, *pairs)
    store.predictions_path(pairs[0][0].id).write_bytes(pairs[1][1])
    with pytest.raises(BadRecord, match="sha256"):
        board_of(pairs, predictions=store.read_predictions)


# -- marks -----------------------------------------------------------------------------------------------------


def test_a_stale_row_says_which_part_changed() -> None:
    pairs = [make_record(0.5), make_record(0.5, seed=1), make_record(0.6, plugin="moco"),
             make_record(0.6, plugin="moco", seed=1)]
    table = only(board_of(pairs, stale={pairs[0][0].id: ("plugin",), pairs[1][0].id: ("core",)}))
    assert row_of(table, "simclr").stale == ("core", "plugin")
    assert row_of(table, "moco").stale == ()


def test_costs_are_means_over_seeds_of_what_was_measured() -> None:
    pairs = [make_record(0.5, cost={"params": 10.0, "pretrain_hours": 1.0, "samples_per_s": None,
                                    "pretrain_peak_mb": 100.0, "eval_peak_mb": 50.0}),
             make_record(0.5, seed=1, cost={"params": 10.0, "pretrain_hours": 2.0, "samples_per_s": None,
                                            "pretrain_peak_mb": None, "eval_peak_mb": 70.0})]
    cost = next(only(board_of(pairs)).rows()).cost
    assert (cost.params, cost.hours, cost.samples_per_s, cost.peak_mb) == (10.0, 1.5, None, 100.0)


def test_published_numbers_stand_beside_and_outside_the_rank() -> None:
    table = only(board_of([make_record(0.1)], published=load_published()))
    assert [row.rank for row in table.rows()] == [1]
    assert {"Colorization", "SOfA"} <= {row.method for row in table.published}
    knn = only(board_of([make_record(0.1, evaluator="knn", split="v3-clean")], published=load_published()))
    assert knn.published == ()


def test_tables_come_in_one_order() -> None:
    pairs = [make_record(0.5, dataset=d, split=s, evaluator=e) for d in ("b", "a") for s in ("y", "x")
             for e in ("linear", "knn")]
    titles = [table.title for table in board_of(pairs).tables]
    assert titles == sorted(titles)
    assert len(titles) == 8
