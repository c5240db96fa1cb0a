"""Ranks, curves and classes of boards against independent computations."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.board import words
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.charts import make_scatters
from ssl_skel.bench.board.model import Board
from ssl_skel.bench.board.pages.classes import count_classes
from ssl_skel.bench.board.pages.series import POINTS, Series, curve_groups, draw, read_series
from ssl_skel.bench.board.rank_plots import critical_difference, rank_plots, studentized_range


@pytest.mark.oracle
@pytest.mark.parametrize("methods", [2, 3, 7, 20])
def test_the_studentized_range_is_that_of_scipy(methods: int) -> None:
    from scipy.stats import studentized_range as oracle

    assert studentized_range(methods, 0.05) == pytest.approx(oracle.ppf(0.95, methods, math.inf), abs=1e-6)


def test_the_critical_difference_is_the_one_of_the_paper() -> None:
    """Demsar 2006, section 3.2.4: four methods on 14 datasets differ from 1.25 ranks."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def board_of(table: dict[str, list[float]]) -> Board:
    records = [make_record(value, plugin=plugin, dataset="nw-ucla", split=f"v{place}", n=200)[0]
               for plugin, values in table.items() for place, value in enumerate(values) if value]
    return build_board(BoardInput(records), "made-up")


def test_ranks_are_means_over_test_sets() -> None:
    board = board_of({"simclr": [0.5, 0.6, 0.4], "moco": [0.6, 0.5, 0.4], "byol": [0.2, 0.2, 0.2], "mae": [0.9, 0, 0]})
    (plot,) = rank_plots(board)
    assert [(one.row.key.plugin, one.mean, one.each) for one in plot.methods] == [
        ("moco", 1.5, (1.0, 2.0, 1.5)), ("simclr", 1.5, (2.0, 1.0, 1.5)), ("byol", 3.0, (3.0, 3.0, 3.0))]
    assert (plot.sets, plot.left_out, plot.critical) == (("nw-ucla v0", "nw-ucla v1", "nw-ucla v2"), 1, None)


def test_a_critical_difference_needs_enough_test_sets() -> None:
    (plot,) = rank_plots(board_of({name: [0.1 * place + 0.1] * 5 for place, name in enumerate(("a", "b", "c"))}))
    assert plot.critical == pytest.approx(critical_difference(3, 5))


def test_two_methods_or_one_test_set_are_no_rank_plot() -> None:
    assert rank_plots(board_of({"simclr": [0.5, 0.5], "moco": [0.6, 0.6]})) == []
    assert rank_plots(board_of({"simclr": [0.5], "moco": [0.6], "byol": [0.4]})) == []


def test_a_test_set_of_another_comparison_does_not_spoil_the_ranks() -> None:
    board = board_of({"simclr": [0.5, 0.6, 0], "moco": [0.6, 0.5, 0], "byol": [0.2, 0.2, 0.2], "mae": [0, 0, 0.5]})
    (plot,) = rank_plots(board)
    assert plot.sets == ("nw-ucla v0", "nw-ucla v1")


@pytest.mark.oracle
def test_the_confusion_matrix_is_that_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.metrics import confusion_matrix

    store = fill(tmp_path, *(make_record(0.6, seed=seed, predictions_seed=seed, n=80) for seed in (0, 1)))
    tables = [store.read_predictions(record) for record in store.all()]
    found = count_classes(store.all(), store.read_predictions, ())
    expected = sum(confusion_matrix(table.labels, table.top[:, 0], labels=range(8)) for table in tables)
    assert np.array_equal(found.confusion, expected)
    assert found.names[3] == "class 3"
    assert found.clips == [10] * 8
    assert sum(found.recall) / 8 == pytest.approx(0.6)  # type: ignore[arg-type]
    taken = max(((true, other) for true in range(8) for other in range(8) if true != other),
                key=lambda place: expected[place])
    first = found.mistakes()[0]
    assert first[2] == expected[taken] / 20
    assert all(name != other for name, other, _, _ in found.mistakes())


def test_shades_cover_the_shares_that_are_drawn(tmp_path: Path) -> None:
    store = fill(tmp_path, make_record(1.0, n=80))
    shades = count_classes(store.all(), store.read_predictions, ()).shades()
    assert shades[:4] == [""] * 4
    assert shades[4] == "".join(f"M{place} {place}h1v1h-1z" for place in range(8))


def test_training_curves_are_thinned_to_means_and_the_loss_is_first(tmp_path: Path) -> None:
    lines = [{"step": step, "epoch": 1, "lr": 0.1, "align": 1.0, "loss": float(step)} for step in range(1, 241)]
    path = tmp_path / "curves.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 241, "lo')
    found = read_series(path)
    assert list(found) == ["loss", "align"]
    assert len(found["loss"].xs) == POINTS
    assert found["loss"].ys[0] == 2.5
    assert found["loss"].xs == found["loss"].ys
    assert set(found["align"].ys) == {1.0}


@pytest.mark.parametrize("content", [
    b"", b"\xff\xfe", b"[1]\n", b'{"step": "a", "loss": 1}\n', b'{"step": 1, "loss": null}\n',
    b'{"step": 1, "loss": NaN}\n', b'{"step": 1, "loss": true}\n', b"[" * 99_999])
def test_curves_that_are_none_are_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "curves.jsonl").write_bytes(content)
    assert read_series(tmp_path / "curves.jsonl") == {}
    assert read_series(tmp_path / "missing") == {}


def test_a_line_chart_stays_in_its_frame_whatever_its_values() -> None:
    for ys in ((1.0, 1.0), (0.0, 0.0), (-5.0, 3e7), (1e-9, 2e-9), (4.0,)):
        chart = draw("t", "x", "y", [Series("s", tuple(float(x) for x in range(len(ys))), ys)])
        assert chart is not None
        for x, y in chart.lines[0].points:
            assert 44 <= x <= 348
            assert 12 <= y <= 166
        assert len(chart.y_ticks) >= 2
    assert draw("t", "x", "y", []) is None


def test_metrics_of_curves_are_recognised_by_their_places() -> None:
    metrics = {"top1": 0.5, "noise/1/top1": 0.4, "noise/2/top1": 0.3, "noise/area": 0.4, "view/1/top1": 0.2}
    assert curve_groups(metrics) == {"noise": {1: 0.4, 2: 0.3}}


def test_rows_of_a_rank_plot_are_told_apart_also_where_their_names_are_long() -> None:
    streams = ("temporal+spatial+person", "temporal+spatial", "coarse-temporal+coarse-spatial+coarse-person")
    records = [make_record(0.5, plugin="colorization", label="fine+coarse aligned with the first frame", split=split,
                           streams=name, fusion=fusion)[0]
               for split in ("v1", "v2") for name in streams for fusion in ("concat", "scores")]
    (plot,) = rank_plots(build_board(BoardInput(records), "made-up"))
    assert len(set(plot.labels)) == len(plot.labels) == 6
    assert all(len(line) <= 38 for label in plot.labels for line in label)
    assert plot.labels[0][0].startswith("colorization [fine")


def test_names_that_are_the_same_when_cut_are_numbered() -> None:
    long = ["a" * 20 + middle + "a" * 20 for middle in "xyz"]
    short = words.distinct([*long, long[0], "b"], 21)
    assert short == ["a" * 10 + "…" + "a" * 10, "a" * 8 + "…" + "a" * 8 + " (2)", "a" * 8 + "…" + "a" * 8 + " (3)",
                     "a" * 10 + "…" + "a" * 10, "b"]


@pytest.mark.parametrize(("floor", "ceiling"), [(0.731, 0.75), (0.75, 0.731), (0.2, 0.9), (0.5, 0.5), (0.01, 0.02)])
def test_labels_of_floor_and_ceiling_stand_apart(floor: float, ceiling: float) -> None:
    records = [make_record(0.4 + place / 10, plugin=plugin, n=1000, cost__pretrain_hours=1.0 + place,
                           ci95={"top1": (0.01, 0.99)})[0] for place, plugin in enumerate(("simclr", "moco"))]
    records += [make_record(value, plugin="random", n=1000, evaluator=evaluator, config__train__epochs=0)[0]
                for value, evaluator in ((floor, "linear"), (ceiling, "finetune"))]
    table = next(t for t in build_board(BoardInput(records), "made-up").tables if t.evaluator == "linear")
    (scatter,) = make_scatters(table)
    first, second = scatter.levels
    assert {first.role, second.role} == {"floor", "ceiling"}
    assert second.text_y - first.text_y >= 13.9
    assert all(12 <= level.text_y <= 276 for level in scatter.levels)
