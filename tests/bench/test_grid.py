"""The grid with a made-up executor: order, failures, what is run again, and stopping."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop, results
from ssl_skel.api import Event, Unit
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.grid import Grid, GridReport
from ssl_skel.bench.planfile import write_plan
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.status import status_of
from ssl_skel.bench.store import RecordStore


class Scripted(InlineExecutor):
    """Runs units for real, unless the script says otherwise; remembers what it was asked."""

    def __init__(self, script: Callable[[Unit], Event | None] = lambda unit: None, slots: int = 1) -> None:
        super().__init__()
        self.slots, self.script = slots, script  # type: ignore[misc]
        self.asked: list[tuple[str, str]] = []
        self.most = 0
        self.closed = 0
        self._waiting: list[Unit] = []

    def submit(self, unit: Unit) -> None:
        self.asked.append((unit.kind, str(unit.cell["plugin"])))
        self._waiting.append(unit)
        self.most = max(self.most, len(self._waiting))

    def wait(self, seconds: float) -> list[Event]:
        unit = self._waiting.pop(0)
        said = self.script(unit)
        if said is not None:
            return [said]
        super().submit(unit)
        return super().wait(seconds)

    def close(self, grace: float = 10.0) -> None:
        self.closed += 1


def fails(*plugins: str, kind: str = "pretrain", status: str = "error") -> Callable[[Unit], Event | None]:
    def script(unit: Unit) -> Event | None:
        if unit.kind == kind and unit.cell["plugin"] in plugins:
            return Event(unit.id, status, unit.kind, "as the script says", "Traceback ...", {"exit_code": 3})
        return None
    return script


def run(shop: Workshop, plan: Plan, executor: Any = None, rerun: str = "missing", fail_fast: bool = False,
        listen: Any = None) -> tuple[GridReport, Any]:
    executor = executor or Scripted()
    store = RecordStore(shop.out).create()
    write_plan(store.root, plan)
    options = RunOptions(shop.out, shop.root / "data", (str(shop.root),), device="cpu").for_units(plan.suite)
    report = Grid(plan, store, executor, options, rerun, fail_fast, listen).run()
    assert executor.closed
    return report, executor


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, ["one", "two"])


def test_a_pretraining_runs_before_its_evaluations_and_those_before_the_next(shop: Workshop) -> None:
    report, executor = run(shop, shop.plan("one", "two", evaluators=["knn", "linear"]))
    assert executor.asked == [("pretrain", "one"), ("evaluate", "one"), ("evaluate", "one"),
                              ("pretrain", "two"), ("evaluate", "two"), ("evaluate", "two")]
    assert len(report.done) == 4
    assert not report.failed
    assert len(results(shop.out)) == 4


def test_never_more_units_than_slots_and_no_slot_idle(shop: Workshop) -> None:
    for slots in (1, 2, 3):
        shop.out = shop.root / f"out{slots}"
        _, executor = run(shop, shop.plan("one", "two", seeds=[0, 1]), Scripted(slots=slots))
        assert executor.most == slots


def test_what_is_finished_is_kept(shop: Workshop) -> None:
    run(shop, shop.plan("one"))
    before = {path: path.stat().st_mtime_ns for path in shop.out.rglob("*.json") if path.name != "plan.json"}
    report, executor = run(shop, shop.plan("one", "two"))
    assert executor.asked == [("pretrain", "two"), ("evaluate", "two")]
    assert len(report.done) == 2
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_new_evaluations_reuse_a_finished_pretraining(shop: Workshop) -> None:
    run(shop, shop.plan("one"))
    _, executor = run(shop, shop.plan("one", datasets=["tiny/xsub", "tiny/xsub-clean"], evaluators=["knn", "linear"]))
    assert executor.asked == [("evaluate", "one")] * 3


def test_a_failure_is_kept_apart_and_loses_its_own_cells_only(shop: Workshop) -> None:
    plan = shop.plan("one", "two", evaluators=["knn", "linear"])
    report, _ = run(shop, plan, Scripted(fails("one")))
    lost = plan.pretrainings[0].id
    assert list(report.failed) == [lost]
    assert set(report.skipped.values()) == {lost}
    assert len(report.skipped) == 2
    assert len(report.done) == 2
    failure = json.loads((shop.out / "failures" / f"{lost}.json").read_text())
    assert (failure["status"], failure["message"]) == ("error", "as the script says")
    assert failure["detail"] == {"exit_code": 3}
    assert failure["traceback"].startswith("Traceback")
    assert {record["cell"]["plugin"] for record in results(shop.out).values()} == {"two"}
    status = status_of(shop.out)
    assert (status["planned"], status["done"], status["failed"], status["missing"]) == (4, 2, 2, 0)


def test_a_failure_does_not_satisfy_a_resume_and_is_cleared_by_success(shop: Workshop) -> None:
    plan = shop.plan("one")
    run(shop, plan, Scripted(fails("one")))
    report, _ = run(shop, plan)
    assert len(report.done) == 1
    assert not list((shop.out / "failures").glob("*.json"))


def test_a_failed_evaluation_leaves_its_siblings(shop: Workshop) -> None:
    def script(unit: Unit) -> Event | None:
        return Event(unit.id, "killed", "evaluate", "no memory") if unit.cell.get("evaluator") == "linear" else None

    report, _ = run(shop, shop.plan("one", evaluators=["knn", "linear"]), Scripted(script))
    assert [failure.status for failure in report.failed.values()] == ["killed"]
    assert len(report.done) == 1
    assert not report.skipped


def test_fail_fast_stops_at_the_first_failure(shop: Workshop) -> None:
    report, executor = run(shop, shop.plan("one", "two"), Scripted(fails("one")), fail_fast=True)
    assert executor.asked == [("pretrain", "one")]
    assert len(report.failed) == 1
    assert not report.done


@pytest.mark.parametrize("kind", ["pretrain", "evaluate"])
def test_a_worker_that_lies_is_not_believed(shop: Workshop, kind: str) -> None:
    report, _ = run(shop, shop.plan("one"), Scripted(lambda unit: Event(unit.id, "ok") if unit.kind == kind else None))
    assert [(f.status, f.stage, f.message) for f in report.failed.values()] == [
        ("crashed", "", "the worker reported success but left no valid result")]


def test_an_executor_that_makes_up_a_status_and_units(shop: Workshop) -> None:
    def script(unit: Unit) -> Event | None:
        return Event(unit.id, "exploded", message="x")

    report, _ = run(shop, shop.plan("one"), Scripted(script))
    assert [failure.status for failure in report.failed.values()] == ["error"]


def test_torn_results_are_made_again(shop: Workshop) -> None:
    plan = shop.plan("one", evaluators=["knn", "linear"])
    run(shop, plan)
    before = results(shop.out)
    record = next(shop.out.glob("records/*/*/*.json"))
    record.write_bytes(record.read_bytes()[:100])
    _, executor = run(shop, plan)
    assert executor.asked == [("evaluate", "one")]
    (shop.out / "pretrain" / plan.pretrainings[0].id / "card.json").write_text('{"schema": 1}')
    next(shop.out.glob("predictions/*.csv")).unlink()
    _, executor = run(shop, plan)
    assert executor.asked == [("pretrain", "one"), ("evaluate", "one")]
    assert results(shop.out) == before


@pytest.mark.parametrize("harm", ["gone", "torn"])
def test_weights_that_are_not_there_are_trained_again(shop: Workshop, harm: str) -> None:
    plan = shop.plan("one")
    run(shop, plan)
    path = shop.out / "pretrain" / plan.pretrainings[0].id / "encoders.safetensors"
    path.unlink() if harm == "gone" else os.truncate(path, 100)
    _, executor = run(shop, shop.plan("one", evaluators=["linear"]))
    assert executor.asked == [("pretrain", "one"), ("evaluate", "one")]


def test_rerun_all_repeats_everything_with_equal_results(shop: Workshop) -> None:
    plan = shop.plan("one", evaluators=["knn"])
    run(shop, plan)
    before = results(shop.out)
    _, executor = run(shop, plan, rerun="all")
    assert executor.asked == [("pretrain", "one"), ("evaluate", "one")]
    assert results(shop.out) == before


def test_rerun_failed_takes_only_what_failed_even_after_the_plugin_was_mended(shop: Workshop) -> None:
    run(shop, shop.plan("two"), Scripted(fails("two", kind="evaluate")))
    code = shop.root / "plugins" / "two" / "plugin.py"
    code.write_text(code.read_text().replace("0.01 *", "0.02 *"))  # another digest, so other ids
    report, executor = run(shop, shop.plan("one", "two"), rerun="failed")
    assert executor.asked == [("pretrain", "two"), ("evaluate", "two")]
    assert len(report.done) == 1


def test_rerun_stale_takes_only_cells_whose_code_changed(shop: Workshop) -> None:
    run(shop, shop.plan("two"))
    code = shop.root / "plugins" / "two" / "plugin.py"
    code.write_text(code.read_text().replace("0.01 *", "0.02 *"))
    _, executor = run(shop, shop.plan("one", "two"), rerun="stale")
    assert executor.asked == [("pretrain", "two"), ("evaluate", "two")]
    _, executor = run(shop, shop.plan("one", "two"), rerun="stale")
    assert not executor.asked


def test_an_unreadable_failure_file_stops_nothing(shop: Workshop) -> None:
    (shop.out / "failures").mkdir(parents=True)
    (shop.out / "failures" / f"{'0' * 16}.json").write_text("{torn")
    report, _ = run(shop, shop.plan("one"))
    assert len(report.done) == 1


def test_an_interrupt_ends_the_run_without_a_failure(shop: Workshop) -> None:
    grids: list[Grid] = []

    class Interrupting(Scripted):
        def wait(self, seconds: float) -> list[Event]:
            grids[0].interrupt()
            return [Event(self._waiting.pop().id, "interrupted", "pretrain")]

    plan = shop.plan("one", "two")
    store = RecordStore(shop.out).create()
    grids.append(Grid(plan, store, Interrupting(), {}))
    report = grids[0].run()
    assert report.interrupted
    assert not report.failed
    assert not store.failures()
    with pytest.raises(KeyboardInterrupt):
        grids[0].interrupt()  # the second one does not ask


def test_a_cell_that_was_stopped_from_outside_is_a_failure_of_this_run(shop: Workshop) -> None:
    report, _ = run(shop, shop.plan("one"), Scripted(fails("one", status="interrupted")))
    assert [failure.status for failure in report.failed.values()] == ["interrupted"]


def test_events_are_told(shop: Workshop) -> None:
    told: list[tuple[str, Mapping[str, Any]]] = []
    run(shop, shop.plan("one"), listen=lambda name, values: told.append((name, values)))
    names = [name for name, _ in told]
    assert names[0] == "start"
    assert [name for name in names if name in ("begin", "end")] == ["begin", "end"] * 2
    assert {values["stage"] for name, values in told if name == "progress"} == {"pretrain", "extract", "evaluate"}
    json.dumps(told)


def test_features_follow_the_weights_they_come_from(shop: Workshop) -> None:
    """A pretraining that is repeated with other weights must not meet the features of the old ones."""
    plan = shop.plan("one")
    run(shop, plan)
    files = set((shop.out / "features").rglob("*.safetensors"))
    assert len(files) == 2
    before = results(shop.out)
    for harm in (lambda data: b"torn", lambda data: data[:-4] + bytes([data[-4] ^ 64]) + data[-3:]):
        for path in files:
            path.write_bytes(harm(path.read_bytes()))
        next(shop.out.glob("records/*/*/*.json")).unlink()
        run(shop, plan)
        assert results(shop.out) == before
