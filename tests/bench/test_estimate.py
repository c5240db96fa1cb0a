"""What a plan will cost, from earlier records: scaled by the clips seen, unknown where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.records import make_record
from ssl_skel.bench.cells import EvalCell, Plan, Preprocessing, PretrainCell
from ssl_skel.bench.estimate import Estimate, duration, estimate, total
from ssl_skel.bench.record import Record
from ssl_skel.schema import TrainConfig

FAMILY = Preprocessing(name="first-frame", version=1)


def planned(config: dict[str, Any] | None = None, dataset: str = "nw-ucla", evaluator: str = "linear",
            plugin: str = "simclr", **train: Any) -> Plan:
    """One pretraining and one evaluation of it."""
    cell = PretrainCell(
        plugin=plugin, plugin_version=1, backbone="st-gcn", backbone_version=1, dataset=dataset, split="v3", seed=0,
        config=config or {}, train=TrainConfig(frames=40, batch=32, **train), backbone_config={}, preprocessing=FAMILY,
        precision="fp32", plugin_digest="p", dataset_digest="d", train_digest="t", stream_sets=()).with_id()
    one = EvalCell(pretrain_id=cell.id, plugin=plugin, backbone="st-gcn", dataset=dataset, split="v3", seed=0,
                   evaluator=evaluator, evaluator_version=1, evaluator_config={}, streams=("encoder",), fusion="single",
                   frames=40, preprocessing=FAMILY, dataset_digest="d", split_digest="s").with_id()
    return Plan(suite="made-up", pretrainings=(cell,), evaluations=(one,))


def both(plan: Plan, *records: Record) -> tuple[Estimate, Estimate]:
    """Of the pretraining and of the evaluation."""
    found = estimate(plan, records)
    return found[plan.pretrainings[0].id], found[plan.evaluations[0].id]


def earlier(**changes: Any) -> Record:
    """60 s for 300 steps of 32 clips, 100 training clips; 3 s to extract and evaluate."""
    return make_record(**changes)[0]


@pytest.mark.parametrize("epochs", [1, 10, 250])
def test_time_grows_with_the_clips_that_are_seen(epochs: int) -> None:
    pretraining, evaluation = both(planned(epochs=epochs), earlier())
    assert pretraining.seconds == pytest.approx(60 / (300 * 32) * 100 * epochs)
    assert evaluation == Estimate(3.0, 1)


def test_a_limit_on_the_steps_counts() -> None:
    assert both(planned(epochs=1000, max_steps=30), earlier())[0].seconds == pytest.approx(6.0)


@pytest.mark.parametrize("other", [{"plugin": "moco"}, {"dataset": "sbu"}, {"backbone": "dgcnn"}])
def test_other_work_says_nothing(other: dict[str, str]) -> None:
    pretraining, evaluation = both(planned(), earlier(**other))
    assert pretraining == evaluation == Estimate(None)
    assert pretraining.text == "unknown"


def test_another_protocol_says_what_pretraining_takes_but_not_what_it_takes() -> None:
    pretraining, evaluation = both(planned(evaluator="knn"), earlier())
    assert pretraining.seconds
    assert evaluation.seconds is None


def test_the_same_configuration_is_believed_before_another() -> None:
    slow = earlier(config__task={"width": 9}, pretrain_id="a" * 16, time_s__pretrain=6000.0,
                   config__train={"epochs": 10, "batch": 32, "frames": 40})
    same = earlier(config__train={"epochs": 10, "batch": 32, "frames": 40}, pretrain_id="b" * 16)
    assert both(planned(epochs=96), slow, same)[0] == Estimate(pytest.approx(60.0), 1)
    assert both(planned({"width": 9}, epochs=96), slow, same)[0] == Estimate(pytest.approx(6000.0), 1)
    assert both(planned({"width": 7}, epochs=96), slow, same)[0] == Estimate(pytest.approx(3030.0), 2)


def test_records_of_one_pretraining_count_once() -> None:
    records = [earlier(evaluator=name) for name in ("linear", "knn", "retrieval")]
    assert both(planned(), *records)[0].runs == 1


def test_an_encoder_from_another_dataset_counts_for_that_one() -> None:
    record = earlier()
    moved = record.model_copy(update={"cell": record.cell.model_copy(
        update={"dataset": "sbu", "pretrained_on": "nw-ucla/v3"})})
    assert both(planned(), moved)[0].seconds
    assert both(planned(dataset="sbu"), moved)[0].seconds is None


def test_what_is_done_or_untrained_costs_nothing() -> None:
    plan = planned()
    done = earlier(id=plan.evaluations[0].id, pretrain_id=plan.pretrainings[0].id)
    assert both(plan, done) == (Estimate(0.0), Estimate(0.0))
    assert both(planned(epochs=0))[0].text == "none"


def test_the_sum_and_what_is_unknown() -> None:
    assert total([Estimate(1.5, 1), Estimate(None), Estimate(0.0)]) == (1.5, 1)
    assert Estimate(90.0, 1).text == "about 1.5 min, from 1 earlier run"
    assert Estimate(90.0, 2).text.endswith("2 earlier runs")


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (95, "1.6 min"),
                                               (1500, "25 min"), (5400, "1.5 h"), (90_000, "25 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(1, 1e7))
def test_a_duration_is_right_to_a_tenth(seconds: float) -> None:
    number, unit = duration(seconds).split()
    assert float(number) * {"s": 1, "min": 60, "h": 3600}[unit] == pytest.approx(seconds, rel=0.1, abs=0.5)
