"""Several runs on one folder: each takes what is left, and everybody sees who does what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop, results
from ssl_skel.api import Event, Unit
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.claims import claimed
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.grid import Grid
from ssl_skel.bench.holders import held
from ssl_skel.bench.planfile import write_plan
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.status import status_of
from ssl_skel.bench.store import RecordStore
from ssl_skel.cli.show_status import _lines


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def never(line: str) -> None:
    pytest.fail(line)


class Watched(InlineExecutor):
    """Notes the order of units, and lets go of a claim after so many waits."""

    def __init__(self, release: Any, after: int) -> None:
        super().__init__()
        self.order: list[str] = []
        self.again: dict[str, bool] = {}
        self._release, self._after, self._waits = release, after, 0

    def submit(self, unit: Unit) -> None:
        self.order.append(unit.id)
        self.again[unit.id] = bool(unit.options["again"])
        super().submit(unit)

    def wait(self, seconds: float) -> list[Event]:
        events = super().wait(seconds)
        self._waits += 1
        if self._waits >= self._after and self._release is not None:
            self._release.__exit__(None, None, None)
            self._release = None
        return events


def grid_of(shop: Workshop, plan: Plan, executor: InlineExecutor, rerun: str = "missing") -> Grid:
    options = RunOptions(shop.out, shop.root / "data", (str(shop.root),), device="cpu", threads=1).for_units(plan.suite)
    return Grid(plan, RecordStore(shop.out).create(), executor, options, rerun)


def test_what_another_run_works_on_is_left_for_later(shop: Workshop) -> None:
    plan = shop.plan(seeds=[0, 1])
    RecordStore(shop.out).create()
    first, second = plan.pretrainings
    claim = claimed(shop.out, first.id, never)
    claim.__enter__()
    executor = Watched(claim, after=2)
    report = grid_of(shop, plan, executor, rerun="all").run()
    assert executor.order[:2] == [second.id, next(c.id for c in plan.evaluations if c.pretrain_id == second.id)]
    assert executor.order[2] == first.id
    assert len(executor.order) == len(set(executor.order)) == 4
    assert executor.again == {**dict.fromkeys(executor.order, True), first.id: False}  # another run may have done it
    assert len(report.done) == 2


def test_holders_are_named(shop: Workshop) -> None:
    plan = shop.plan()
    store = RecordStore(shop.out).create()
    write_plan(store.root, plan)
    assert held(shop.out) == {}
    (cell,) = plan.pretrainings
    with claimed(shop.out, cell.id, never):
        (shop.out / "claims" / "junk").touch()
        (shop.out / "claims" / f"{'f' * 16}.nohost.x.y").touch()
        holder = held(shop.out)[cell.id]
        assert holder.since is not None
        found = status_of(shop.out)
    assert [row["title"] for row in found["running"]] == [cell.title]
    assert found["running"][0]["where"] == f"{holder.host}:{holder.pid}"
    assert found["eta_s"] is None
    assert "time left: unknown" in "\n".join(_lines(found))
    assert "running  tiny (tiny) on tiny/xsub, seed 0: on " in "\n".join(_lines(found))
    assert held(shop.out).keys() == {"f" * 16}


def test_time_left_follows_from_what_is_done(shop: Workshop) -> None:
    few, all_of_it = shop.plan(), shop.plan(seeds=[0, 1, 2])
    assert shop.run_here(few) == 0
    write_plan(shop.out, all_of_it)
    found = status_of(shop.out)
    assert found["pretrainings"] == {"planned": 3, "done": 1}
    assert (found["planned"], found["done"], found["missing"]) == (3, 1, 2)
    assert found["eta_s"] is not None
    assert found["eta_s"] >= 0
    json.dumps(found)


def test_shards_deal_every_pretraining_once_with_its_evaluations(shop: Workshop) -> None:
    plan = shop.plan(seeds=range(5), datasets=["tiny/xsub", "tiny/xsub-clean"])
    shards = [plan.shard(i, 3) for i in (1, 2, 3)]
    assert sorted(c.id for s in shards for c in s.pretrainings) == sorted(c.id for c in plan.pretrainings)
    assert sorted(c.id for s in shards for c in s.evaluations) == sorted(c.id for c in plan.evaluations)
    for shard in shards:
        assert {c.pretrain_id for c in shard.evaluations} == {c.id for c in shard.pretrainings}
    assert plan.shard(1, 1) == plan


def test_shards_in_one_folder_make_the_whole(shop: Workshop) -> None:
    plan = shop.plan(seeds=[0, 1, 2])
    assert shop.run_here(plan, shard=(1, 2)) == 0
    assert (len(results(shop.out)), status_of(shop.out)["missing"]) == (2, 1)
    assert shop.run_here(plan, shard=(2, 2)) == 0
    assert status_of(shop.out)["missing"] == 0
    assert len(results(shop.out)) == 3
