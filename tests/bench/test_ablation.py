from __future__ import annotations

import pytest

from helpers.records import make_record
from ssl_skel.bench.board.ablation import ablation_grid, find_ablations
from ssl_skel.bench.record import Record
from ssl_skel.errors import UsageMistake


def masked(strategy: str, ratio: float, accuracy: float, seed: int = 0, **changes: object) -> Record:
    return make_record(accuracy, seed=seed, config__task={"mask": {"strategy": strategy, "ratio": ratio}}, **changes)[0]


RECORDS = [masked(strategy, ratio, 0.2 + 0.1 * s + ratio / 2 + 0.1 * seed, seed)
           for s, strategy in enumerate(("random", "frame")) for ratio in (0.7, 0.1, 0.4) for seed in (0, 1)]


def test_records_are_arranged_by_two_keys_and_averaged_over_seeds() -> None:
    grid = ablation_grid(RECORDS, "task.mask.strategy", "task.mask.ratio")
    assert grid.rows == ("frame", "random")
    assert grid.cols == ("0.1", "0.4", "0.7")
    cell = grid.cells["frame", "0.4"]
    assert cell.mean == pytest.approx(0.55, abs=0.01)
    assert cell.sd == pytest.approx(0.1 / 2**0.5, abs=0.01)
    assert cell.count == 2
    assert grid.range()[1] == grid.cells["frame", "0.7"].mean


def test_two_differing_keys_are_found_and_numbers_run_across() -> None:
    grid, = find_ablations(RECORDS)
    assert (grid.row_key, grid.col_key) == ("task.mask.strategy", "task.mask.ratio")
    assert grid == ablation_grid(list(reversed(RECORDS)), grid.row_key, grid.col_key, grid.title)


def test_one_differing_key_is_no_grid() -> None:
    one = [record for record in RECORDS if record.config["task"]["mask"]["strategy"] == "frame"]
    assert find_ablations(one) == []


def test_a_third_key_is_held_fixed() -> None:
    grid, = find_ablations([*RECORDS, masked("frame", 0.1, 0.3, config__frames=20)])
    assert (grid.row_key, grid.col_key) == ("task.mask.strategy", "task.mask.ratio")
    assert set(grid.cells) == {(s, r) for s in ("frame", "random") for r in ("0.1", "0.4", "0.7")}
    assert grid.title.endswith(", frames 40")
    longer = [masked(s, r, 0.6, config__frames=20) for s in ("random", "frame") for r in (0.1, 0.4)]
    grids = find_ablations([*RECORDS, *longer])
    assert [grid.title[-11:] for grid in grids if grid.col_key == "task.mask.ratio" and grid.row_key != "frames"] == [
        ", frames 20", ", frames 40"]


def test_a_key_that_follows_from_another_may_differ_along() -> None:
    """Body parts are ten where parts are masked, and five elsewhere, where their number plays no role."""
    parts = [make_record(0.5, config__task={"mask": s, "ratio": r, "parts": 10 if s == "part" else 5})[0]
             for s in ("part", "frame", "none") for r in (0.1, 0.4) if s != "none" or r == 0.4]
    grid, = find_ablations(parts)
    assert (grid.rows, grid.cols, len(grid.cells)) == (("frame", "none", "part"), ("0.1", "0.4"), 5)


def test_a_row_and_a_column_of_three_keys_are_no_grid() -> None:
    corner = [masked("frame", 0.1, 0.3), masked("frame", 0.4, 0.3), masked("random", 0.1, 0.3)]
    assert find_ablations([*corner, masked("joint", 0.7, 0.3, config__frames=20)]) == []


def test_a_hole_in_the_grid_is_allowed() -> None:
    grid, = find_ablations(RECORDS[:-2])
    assert ("frame", "0.4") not in grid.cells


def test_each_stream_set_is_a_grid_of_its_own() -> None:
    spatial = [masked(s, r, 0.5, streams="spatial") for s in ("random", "frame") for r in (0.1, 0.4)]
    assert len(find_ablations([*RECORDS, *spatial])) == 2


def test_cells_that_would_mix_settings_are_refused() -> None:
    mixed = [*RECORDS, masked("frame", 0.1, 0.3, config__frames=20)]
    with pytest.raises(UsageMistake, match="several records of one seed"):
        ablation_grid(mixed, "task.mask.strategy", "task.mask.ratio")
    with pytest.raises(UsageMistake, match=r"no key 'task\.other'"):
        ablation_grid(RECORDS, "task.other", "task.mask.ratio")
