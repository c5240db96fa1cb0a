"""A dataset that raises on any forbidden read, under every shipped plugin and every shipped evaluator.

Cells run as they do in a benchmark. Behind the wall, a pretraining has training clips and nothing else of its split;
an evaluation has no label and no name of a test clip until its predictions are made.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop
from helpers.tiny_more import DATASETS
from ssl_skel.api import Event, Unit
from ssl_skel.bench import cell as running
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.open import Part, SplitView, open_split
from ssl_skel.registry import bundled_root, discover
from ssl_skel.schema import RegistryFile
from ssl_skel.yamlio import load_yaml

INDEX = RegistryFile.model_validate(load_yaml(bundled_root() / "registry.yaml"))
PLUGINS = sorted(path.parent.name for path in bundled_root().glob("plugins/*/plugin.yaml"))
SMALL = {"epochs": 1, "l2": [0.1], "lr": [0.1], "draws": 1, "starts": 1, "corruptions": ["noise"], "percent": [50]}


class Forbidden(AssertionError):
    """Something was read that must not be."""


class Walled:
    """Stands before a part of a split and gives only what is allowed; the rest raises."""

    def __init__(self, part: Part, allowed: tuple[str, ...]) -> None:
        self.__dict__.update(_part=part, _allowed=allowed)

    def __len__(self) -> int:
        return len(self._part)

    def __getattr__(self, name: str) -> Any:
        if name not in self._allowed:
            raise Forbidden(name)
        return getattr(self._part, name)


def wall(monkeypatch: pytest.MonkeyPatch, train: tuple[str, ...], test: tuple[str, ...], opened: int = 99) -> list[int]:
    """Let the first `opened` splits that a cell opens be walled; counts how many were."""
    count = [0]

    def walled(*args: Any, **kwargs: Any) -> SplitView:
        view = open_split(*args, **kwargs)
        digests = {"dataset_digest": view.dataset_digest, "train_digest": view.train_digest}  # the suite makes them
        count[0] += 1
        if count[0] > opened:
            return view
        parts = {"train": Walled(view.train, train), "test": Walled(view.test, test)}
        made = replace(view, **parts)  # type: ignore[arg-type]
        made.__dict__.update(digests)
        return made

    monkeypatch.setattr(running, "open_split", walled)
    return count


def units(shop: Workshop, plan: Plan) -> tuple[Unit, list[Unit]]:
    """The pretraining and the evaluations of a plan, as executors get them."""
    options = RunOptions(out=shop.out, data_root=shop.root / "data", plugins=(str(shop.root),), device="cpu", threads=1)
    told = options.for_units(plan.suite)
    RecordStore(shop.out).create()
    before, = plan.pretrainings
    return (Unit(before.id, "pretrain", before.model_dump(mode="json"), told),
            [Unit(one.id, "evaluate", one.model_dump(mode="json"), told) for one in plan.evaluations])


def ignore(event: Event) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("name", PLUGINS)
def test_a_pretraining_reads_training_clips_and_nothing_else(name: str, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    card = discover().get("plugins", name).card
    assert card is not None
    steps = {"epochs": min(1, card.train.get("epochs", 1)), "max_steps": 1}
    train = {**card.tiny.train, **steps, "batch": 16, "frames": 12}
    tiny = {"config": card.tiny.config, "train": train, "backbone": card.tiny.backbone}
    shop = Workshop(tmp_path, datasets=DATASETS, suites={"one": {
        "title": "One", "datasets": ["tiny-20"], "evaluators": ["knn"], "entries": [{"plugin": name, **tiny}]}})
    plan = shop.plan(suite="one")
    assert plan.pretrainings, plan.refused
    counted = wall(monkeypatch, train=("clips",), test=())
    running.run_pretraining(units(shop, plan)[0], ignore, threading.Event())
    assert counted == [1]
    assert running.is_finished(units(shop, plan)[0])


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """An encoder to be evaluated."""
    shop = Workshop(tmp_path_factory.mktemp("walls"), datasets=DATASETS)
    running.run_pretraining(units(shop, shop.plan(datasets=["tiny-20"]))[0], ignore, threading.Event())
    return shop


@pytest.mark.parametrize("name", sorted({entry.target: name for name, entry in INDEX.evaluators.items()}.values()))
def test_an_evaluation_reads_no_label_of_a_test_clip_before_it_has_predicted(
        name: str, pretrained: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, entry = pretrained, discover().get("evaluators", name)
    cls = entry.load()
    small = {key: value for key, value in SMALL.items() if key in cls.Config.model_fields
             and isinstance(cls.Config.model_fields[key].default, tuple) == isinstance(value, list)
             and key not in entry.config}
    plan = shop.plan(datasets=["tiny-20"], targets=["tiny" if cls.across else "tiny-20"], evaluators=[name])
    planned, = plan.evaluations
    planned = planned.model_copy(update={"evaluator_config": {**planned.evaluator_config, **small}}).with_id()
    unit = units(shop, plan.model_copy(update={"evaluations": (planned,)}))[1][0]
    allowed = ("clips", "names", "subjects", "at", "shown_in")
    monkeypatch.setattr(Walled, "shown_in", lambda self, layout: Walled(self._part.shown_in(layout), self._allowed),
                        raising=False)
    counted = wall(monkeypatch, train=(*allowed, "labels"), test=allowed, opened=1)
    running.run_evaluation(unit, ignore)
    assert counted == [2]  # opened again only to score
    record = RecordStore(shop.out).read(unit.id)
    assert record.cell.evaluator == name
    assert record.n.test == 9


def test_the_wall_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind it raises, so the tests above can fail."""
    wall(monkeypatch, train=("clips",), test=())
    view = running.open_split("synthetic", "xsub")
    for part, name in ((view.train, "labels"), (view.train, "names"), (view.test, "clips"), (view.test, "subjects")):
        with pytest.raises(Forbidden, match=name):
            getattr(part, name)
    assert len(view.pretraining()) == 336
