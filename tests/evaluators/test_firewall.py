"""No evaluator looks at a test label, chooses on the test part, or needs the order of test clips."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.moving import moving_context
from helpers.tiny import Workshop
from ssl_skel.api import Event, FeatureSet, Unit
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.worker import run_unit
from ssl_skel.evaluators.best_on_test import BestOnTest
from ssl_skel.evaluators.cluster import Cluster
from ssl_skel.evaluators.early import Early
from ssl_skel.evaluators.fewshot import FewShot
from ssl_skel.evaluators.finetune import FineTune
from ssl_skel.evaluators.knn import KNN
from ssl_skel.evaluators.linear import LinearProbe
from ssl_skel.evaluators.linear_sgd import LinearSGD
from ssl_skel.evaluators.retrieval import Retrieval
from ssl_skel.evaluators.robustness import Robustness
from ssl_skel.evaluators.semi import Semi
from ssl_skel.evaluators.shuffled import ShuffledProbe
from ssl_skel.evaluators.transfer import Transfer
from ssl_skel.registry import discover

CONFIGS = {
    LinearProbe: {"l2": (0.1, 0.01)}, ShuffledProbe: {"l2": (0.1, 0.01)}, LinearSGD: {"lr": (0.1, 0.01), "epochs": 3},
    BestOnTest: {"lr": (0.1, 0.01), "epochs": 3}, KNN: {}, Retrieval: {}, Cluster: {"starts": 1},
    FewShot: {"draws": 2}, FineTune: {"epochs": 1},
    Semi: {"epochs": 1, "draws": 1}, Early: {"l2": (0.1,), "percent": (50,)},
    Robustness: {"l2": (0.1,), "corruptions": ("noise",)}, Transfer: {"l2": (0.1,), "epochs": 1},
}
LINEAR = (LinearProbe, LinearSGD)


class Guarded(FeatureSet):
    """A test part whose labels can't be read."""

    @property
    def labels(self):
        raise AssertionError("an evaluator read the test labels")


def guard(part):
    made = object.__new__(Guarded)
    for name in ("streams", "names", "subjects"):
        object.__setattr__(made, name, getattr(part, name))
    return made


def build(cls):
    return cls(cls.Config(**CONFIGS[cls]))


def test_every_evaluator_is_here():
    """A new file in the package must be added above."""
    from pathlib import Path

    import ssl_skel.evaluators as package

    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    helpers = {"__init__", "common", "softmax", "search", "corruptions", "frozen", "finetuning"}
    assert files - helpers == {cls.__module__.rsplit(".", 1)[1] for cls in CONFIGS}


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.name)
def test_test_labels_are_never_read(cls):
    ctx, labels = moving_context()
    with pytest.raises(AssertionError):
        _ = guard(ctx.test).labels
    guarded = replace(ctx, test=guard(ctx.test))
    if cls.needs == "features":
        guarded = replace(guarded, encoders={}, train_clips=None, test_clips=None)
    result = build(cls).evaluate(guarded)
    assert result.top.shape[0] == len(labels)
    assert result.top.dtype == torch.int64
    assert all(len(value) == len(labels) for value in result.extra.values())
    metrics = build(cls).score(result, labels, ctx.num_classes)
    assert {"top1", "mean_class", cls.primary} <= set(metrics)
    assert all(isinstance(value, float) and value == value for value in metrics.values())


@pytest.mark.parametrize("cls", LINEAR, ids=lambda cls: cls.name)
def test_choices_do_not_depend_on_the_test_part(cls):
    ctx, _ = moving_context()
    other = replace(ctx.test, streams={"a": ctx.test.streams["a"].flip(0) * 3})
    assert build(cls).evaluate(ctx).chosen == build(cls).evaluate(replace(ctx, test=other)).chosen


@pytest.mark.parametrize("cls", [cls for cls in CONFIGS if cls.needs == "features"], ids=lambda cls: cls.name)
def test_one_test_clip_is_predicted_as_among_many(cls):
    """No statistic of the test part enters; one clip alone is enough."""
    ctx, _ = moving_context()
    alone = FeatureSet({"a": ctx.test.streams["a"][5:6]}, ctx.test.names[5:6], ctx.test.subjects[5:6])
    together = build(cls).evaluate(ctx).top[5]
    assert torch.equal(build(cls).evaluate(replace(ctx, test=alone)).top[0, :1], together[:1])


THIEF = """
import os
from pathlib import Path

import torch

from ssl_skel.api import EvalResult, Evaluator, TaskConfig


class Thief(Evaluator):
    name, version, primary, Config = "thief", 1, "top1", TaskConfig

    def __init__(self, cfg):
        pass

    def evaluate(self, ctx):
        out = Path(os.environ["LOOT"])
        exec(os.environ["THEFT"])
        return EvalResult(top=torch.zeros(len(ctx.test), 1, dtype=torch.int64))
"""
THEFTS = {
    "predictions": "next(out.glob('predictions/*.csv')).read_text()",
    "records": "next(out.glob('records/*/*/*.json')).read_text()",
    "features": "next(out.glob('features/*/*.safetensors')).read_bytes()",
    "the suite's reader": "list(__import__('ssl_skel.bench.store', fromlist=['x']).RecordStore(out).all())",
    "a folder's handle": "os.open(next(out.glob('predictions/*.csv')).name, os.O_RDONLY, "
                         "dir_fd=os.open(out / 'predictions', os.O_RDONLY))",
    "another name": "(out / 'predictions').rename(out / 'mine')",
    "a hard link": "os.link(next(out.glob('predictions/*.csv')), out / 'mine')",
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, Unit]]:
    """A folder with a record, its predictions and features, and an evaluation by an outside evaluator that is due."""
    shop = Workshop(tmp_path_factory.mktemp("thief"), evaluators={"thief": {"target": "thief:Thief"}})
    (shop.root / "thief.py").write_text(THIEF)
    assert shop.run_here(shop.plan()) == 0
    cell, = shop.plan(evaluators=["thief"]).evaluations
    options = {"out": str(shop.out), "data_root": str(shop.root / "data"), "suite": "custom", "device": "cpu",
               "plugins": (str(shop.root),)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOT", str(shop.out))
        yield shop, Unit(cell.id, "evaluate", cell.model_dump(mode="json"), options)
    discover.cache_clear()


def theft(unit: Unit, line: str, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("THEFT", line)
    return run_unit(unit, lambda event: None, threading.Event())


@pytest.mark.parametrize("line", THEFTS.values(), ids=THEFTS)
def test_an_evaluator_reads_no_results_of_earlier_runs(evaluated, line, monkeypatch):
    shop, unit = evaluated
    event = theft(unit, line, monkeypatch)
    assert event.status == "refused", event.message
    assert "the firewall refused to" in event.message
    assert not RecordStore(shop.out).has(unit.id)


def test_an_honest_outside_evaluator_may_keep_files_of_its_own(evaluated, monkeypatch):
    """Beside results of earlier runs, which the suite reads to say how much memory the evaluation takes."""
    shop, unit = evaluated
    mine = "mine = out / 'loggers'; mine.mkdir(); (mine / 'a.csv').write_text('1'); (mine / 'a.csv').read_text()"
    event = theft(unit, mine, monkeypatch)
    assert event.status == "ok", event.message
    assert RecordStore(shop.out).has(unit.id)
    assert Path(shop.out, "loggers", "a.csv").exists()
