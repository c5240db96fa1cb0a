"""Boards of encoders that were tested on other data than they were pretrained on: rows, tracks, and the matrix."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from helpers.records import make_record
from ssl_skel import ids
from ssl_skel.bench.board.ablation import find_ablations
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.data import render_csv, render_json
from ssl_skel.bench.board.html import render_html
from ssl_skel.bench.board.matrix import find_matrices
from ssl_skel.bench.board.text import render_markdown
from ssl_skel.bench.record import Record

UCLA, SBU = ("nw-ucla", "v3"), ("sbu", "fold1")


def record(source: tuple[str, str], target: tuple[str, str], accuracy: float, seed: int = 0, **changes: Any) -> Record:
    """A made-up record; its pretraining is that of plugin, source and seed."""
    before = {} if source == target else {"cell__pretrained_on": "/".join(source)}
    plugin = changes.pop("plugin", "simclr")
    return make_record(accuracy, plugin=plugin, dataset=target[0], split=target[1], seed=seed, **before,
                       pretrain_id=ids.short_id([plugin, source, seed]), **changes)[0]


RECORDS = [record(source, target, accuracy + 0.1 * seed, seed) for source, target, accuracy in (
    (UCLA, UCLA, 0.6), (UCLA, SBU, 0.4), (SBU, UCLA, 0.3), (SBU, SBU, 0.5)) for seed in (0, 1)]


def test_a_matrix_has_sources_as_rows_targets_as_columns_and_its_own_on_the_diagonal() -> None:
    grid, = find_matrices(RECORDS)
    assert grid.rows == grid.cols == ("nw-ucla/v3", "sbu/fold1")
    assert {place: round(cell.mean, 2) for place, cell in grid.cells.items()} == {
        ("nw-ucla/v3", "nw-ucla/v3"): 0.65, ("nw-ucla/v3", "sbu/fold1"): 0.45,
        ("sbu/fold1", "nw-ucla/v3"): 0.35, ("sbu/fold1", "sbu/fold1"): 0.55}
    assert {cell.count for cell in grid.cells.values()} == {2}
    assert grid.title == "simclr (st-gcn), encoder, pretrained on the row, linear on the column"
    assert find_matrices(list(reversed(RECORDS))) == [grid]


def test_methods_protocols_and_fusions_have_matrices_of_their_own() -> None:
    others = [record(UCLA, target, 0.2, **changes) for target in (UCLA, SBU)
              for changes in ({"plugin": "random"}, {"evaluator": "knn"}, {"streams": "a+b", "fusion": "concat"})]
    assert len(find_matrices([*RECORDS, *others])) == 4


def test_a_clean_twin_stands_in_the_row_of_what_was_pretrained_on() -> None:
    twin = make_record(
        0.5, dataset="nw-ucla", split="v3-clean", pretrain_id=RECORDS[0].pretrain_id)[0]
    grid, = find_matrices([*RECORDS, twin])
    assert ("nw-ucla/v3", "nw-ucla/v3-clean") in grid.cells


def test_without_a_transfer_there_is_no_matrix() -> None:
    assert find_matrices([one for one in RECORDS if not one.cell.pretrained_on]) == []
    assert find_matrices([RECORDS[2]]) == []  # one place is no matrix


def test_a_place_of_two_settings_is_left_to_the_tables() -> None:
    assert find_matrices([*RECORDS, record(UCLA, SBU, 0.4, config__frames=20)]) == []


def test_ablations_do_not_mix_what_was_pretrained_on() -> None:
    both = [record(source, SBU, 0.4, config__task={"a": a, "b": b}) for source in (UCLA, SBU)
            for a in (1, 2) for b in (1, 2)]
    assert len(find_ablations(both)) == 2


def test_rows_of_other_pretraining_data_are_a_track_of_their_own_and_say_so() -> None:
    floors = [record(source, SBU, 0.1, seed, plugin="random", config__train={"epochs": 0})
              for source in (UCLA, SBU) for seed in (0, 1)]
    more = [record(SBU, SBU, 0.7, plugin="moco", seed=seed) for seed in (0, 1)]
    board = build_board(BoardInput([*RECORDS, *floors, *more]), "x")
    table = next(table for table in board.tables if table.dataset == "sbu")
    first, second = table.tracks
    assert [row.key.method for row in first.rows] == ["moco", "simclr", "random"]
    assert [row.key.method for row in second.rows] == ["simclr, pretrained on nw-ucla/v3",
                                                       "random, encoder shaped for nw-ucla/v3"]
    assert second.differs == ("pretraining data nw-ucla/v3 instead of its own training part",)
    assert [row.rank for row in second.rows] == [1, None]
    delta = second.rows[0].delta
    assert delta is not None
    assert delta.value == pytest.approx(0.35, abs=0.02)
    assert "nw-ucla/v3" in delta.against


def test_where_most_rows_are_transferred_their_own_ones_say_so() -> None:
    more = [record(UCLA, SBU, 0.4, plugin="moco"), record(UCLA, SBU, 0.4, plugin="byol")]
    board = build_board(BoardInput([*more, record(SBU, SBU, 0.5)]), "x")
    table, = board.tables
    assert table.tracks[1].differs == ("pretraining data its own training part instead of nw-ucla/v3",)


def test_every_format_names_both_datasets() -> None:
    board, grids = build_board(BoardInput(RECORDS), "x"), find_matrices(RECORDS)
    markdown = render_markdown(board, grids)
    assert "| simclr, pretrained on nw-ucla/v3 |" in markdown
    assert "## Across datasets, top-1: simclr" in markdown
    assert "| pretrained on \\\\ tested on | nw-ucla/v3 | sbu/fold1 |" in markdown
    assert "pretrained on nw-ucla/v3" in render_html(board, grids)
    assert '"kind": "Across datasets"' in render_json(board, grids)
    lines = list(csv.DictReader(io.StringIO(render_csv(board))))
    assert {(line["dataset"], line["pretrained_on"]) for line in lines} >= {("sbu", "nw-ucla/v3"), ("sbu", "")}
    plain = build_board(BoardInput([one for one in RECORDS if not one.cell.pretrained_on]), "x")
    assert "pretrained_on" not in render_csv(plain) + render_json(plain)


def test_a_record_without_a_transfer_reads_as_before() -> None:
    cell = RECORDS[0].cell.model_dump(mode="json")
    assert "pretrained_on" not in cell
    assert RECORDS[2].cell.model_dump(mode="json")["pretrained_on"] == "nw-ucla/v3"


def test_of_tracks_of_equal_size_that_of_its_own_data_is_the_first() -> None:
    board = build_board(BoardInput([record(("a-dataset", "x"), SBU, 0.9), record(SBU, SBU, 0.5)]), "x")
    assert [row.key.pretrained_on for track in board.tables[0].tracks for row in track.rows] == ["", "a-dataset/x"]
