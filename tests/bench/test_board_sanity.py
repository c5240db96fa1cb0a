"""Rows and columns that keep a board honest: raw joints, label-shuffled probes, diagnostics, corrected differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.records import fill, make_record
from ssl_skel.bench.board import words
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.data import as_data, render_csv
from ssl_skel.bench.board.deltas import corrected
from ssl_skel.bench.board.html import render_html
from ssl_skel.bench.board.model import Board, Delta, Table
from ssl_skel.bench.board.text import render_markdown
from ssl_skel.bench.predictions import PredictionTable, rescore, write_predictions
from ssl_skel.bench.record import Record
from ssl_skel.bench.store import RecordStore


def board(store: RecordStore, **given: object) -> Board:
    return build_board(BoardInput(store.all(), predictions=store.read_predictions, **given), "all")  # type: ignore[arg-type]


def table(made: Board, evaluator: str = "linear", split: str = "v3") -> Table:
    return next(one for one in made.tables if (one.evaluator, one.split) == (evaluator, split))


def guessing(plugin: str, knows: bool) -> tuple[Record, bytes]:
    """A label-shuffled probe of 400 clips in 8 classes that guesses, or one that half the time knows the label."""
    labels, rng = np.arange(400) % 8, np.random.default_rng(3)
    first = np.where(rng.random(400) < (0.5 if knows else 0.0), labels, rng.integers(8, size=400))
    top = np.stack([first, *((first + shift) % 8 for shift in range(1, 5))], axis=1)
    record, _ = make_record(plugin=plugin, evaluator="shuffled", n=400)
    found = PredictionTable(tuple(f"clip-{i:03d}" for i in range(400)), labels, top)
    return record.model_copy(update={"metrics": rescore(record, found)}), write_predictions(found.clips, labels, top)


def in_fold(record: Record, data: bytes) -> tuple[Record, bytes]:
    """The same record with clips that are this fold's own."""
    return record, data.replace(b"clip-", f"{record.cell.split}-".encode())


def width(delta: Delta | None) -> float:
    assert delta
    return (delta.high or 0.0) - (delta.low or 0.0)


@pytest.mark.parametrize("knows", [False, True])
def test_a_shuffled_probe_that_knows_the_classes_marks_the_column(tmp_path: Path, knows: bool) -> None:
    store = fill(tmp_path, make_record(0.7), make_record(0.5, plugin="random"), guessing("random", False),
                 guessing("simclr", knows))
    made = board(store)
    linear, shuffled = table(made), table(made, "shuffled")
    assert linear.sanity == shuffled.sanity
    assert linear.sanity is not None
    assert (linear.sanity.failed, linear.sanity.probes, linear.sanity.chance) == (knows, 2, 1 / 8)
    assert linear.sanity.p < 0.01 if knows else linear.sanity.p > 0.05
    assert shuffled.diagnostic
    assert all(row.rank is None and row.role == "diagnostic" for row in shuffled.rows())
    said = "SANITY CHECK FAILED" if knows else "Sanity check passed"
    assert all(said in text for text in (words.sanity(linear), render_markdown(made), render_html(made)))
    assert as_data(made)["tables"][0]["sanity"]["failed"] is knows
    assert f",{'failed' if knows else 'passed'}," in render_csv(made)


def test_a_column_without_a_shuffled_probe_says_nothing(tmp_path: Path) -> None:
    made = board(fill(tmp_path, make_record(0.7)))
    assert table(made).sanity is None
    assert "anity" not in render_markdown(made).split("##", 1)[1]


def test_raw_joints_are_neither_ranked_nor_the_floor(tmp_path: Path) -> None:
    store = fill(tmp_path, make_record(0.7), make_record(0.4, plugin="random"),
                 make_record(0.6, plugin="random", backbone="raw"))
    rows = {row.key.backbone + row.key.plugin: row for row in table(board(store)).rows()}
    raw, simclr = rows["rawrandom"], rows["st-gcnsimclr"]
    assert (raw.role, raw.rank) == ("raw", None)
    assert (simclr.rank, simclr.delta and simclr.delta.against) == (1, "random st-gcn")
    assert raw.delta is not None
    assert raw.delta.value == pytest.approx(0.2)
    assert words.marks(raw) == ["raw: joints as they are, no encoder"]


def test_a_diagnostic_is_shown_with_its_inflation_and_never_ranked(tmp_path: Path) -> None:
    record, data = make_record(0.5, evaluator="best-on-test")
    record = record.model_copy(update={"selection": "best-on-test", "primary": "inflation",
                                       "metrics": {**record.metrics, "inflation": 0.043, "best_epoch": 0.543}})
    store = fill(tmp_path, (record, data), make_record(0.5))
    made = board(store)
    found = table(made, "best-on-test")
    row, = found.rows()
    assert found.diagnostic
    assert (row.role, row.rank, row.delta) == ("diagnostic", None, None)
    text = "diagnostic, never ranked: choosing on the test set would add 4.3 points"
    assert words.marks(row) == [text]
    assert text.replace("-", "\\-") in render_markdown(made) or text in render_markdown(made)


def test_ceilings_are_not_taken_from_raw_joints(tmp_path: Path) -> None:
    store = fill(tmp_path, make_record(0.7), make_record(0.9, plugin="random", evaluator="finetune", backbone="raw"),
                 make_record(0.8, plugin="random", evaluator="finetune"))
    ceiling, = (row for row in table(board(store)).rows() if row.role == "ceiling")
    assert (ceiling.key.backbone, ceiling.mean) == ("st-gcn", pytest.approx(0.8))


def test_differences_are_corrected_by_hand() -> None:
    """Holm: 0.01 x 3, 0.03 x 2, 0.04; one without predictions is left as it is."""
    ps = (0.04, None, 0.01, 0.03)
    found = corrected([None if i == 9 else Delta(0.1, "random", p=p) for i, p in enumerate(ps)])
    assert [delta and delta.p_holm for delta in found] == [pytest.approx(0.06), None, pytest.approx(0.03),
                                                           pytest.approx(0.06)]
    assert [bool(delta and delta.clear) for delta in found] == [False, False, True, False]
    assert corrected([None]) == [None]


def test_a_mean_over_folds_has_an_interval_and_compares_fold_by_fold(tmp_path: Path) -> None:
    pairs = [in_fold(*make_record(accuracy, plugin=plugin, dataset="sbu", split=split, digests__split=split))
             for plugin, accuracy in (("simclr", 0.7), ("random", 0.5)) for split in ("fold1", "fold2")]
    store = fill(tmp_path, *pairs)
    made = board(store, groups={"sbu": {"folds": ("fold1", "fold2")}})
    simclr, = (row for row in table(made, split="folds").rows() if row.key.plugin == "simclr")
    single, = (row for row in table(made, split="fold1").rows() if row.key.plugin == "simclr")
    assert simclr.interval
    assert simclr.interval.low < simclr.mean < simclr.interval.high
    assert simclr.delta
    assert simclr.delta.value == pytest.approx(0.2)
    # Two folds of 60 clips are 120 clips: the interval is narrower by about the square root of two.
    assert width(single.delta) / width(simclr.delta) == pytest.approx(2**0.5, rel=0.2)


def test_costs_that_nobody_measured_have_no_column(tmp_path: Path) -> None:
    plain = board(fill(tmp_path / "a", make_record(0.7)))
    assert not {"FLOPs", "energy"} & {name for name, _, _ in words.costs(plain)}
    costs = {"params": 1e6, "pretrain_hours": 0.1, "samples_per_s": 9.0, "peak_mb": 1.0, "steps": 3.0,
             "flops": 3.65e8, "pretrain_kj": 7200.0}
    rich = board(fill(tmp_path / "b", make_record(0.7, cost=costs), make_record(0.6, plugin="moco")))
    text = render_markdown(rich)
    assert "| 0.36 G |" in text or "| 0.37 G |" in text
    assert "2.00 kWh" in text
    assert replace(rich).tables[0].tracks[0].rows[1].cost.flops is None
