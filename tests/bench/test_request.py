"""What the command line asks for: suites narrowed, widened or made up, and names that do not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop
from ssl_skel.bench.request import Asked, narrowed
from ssl_skel.errors import BrokenPlugin, SkelError, UnknownName, UsageMistake
from ssl_skel.schema import EvaluatorRef

SUITE = {"title": "Own", "datasets": ["tiny/xsub"], "evaluators": [{"name": "knn", "config": {}}, "linear"],
         "seeds": [4, 5], "baseline": "one",
         "entries": [{"plugin": "one", "label": "a"}, {"plugin": "one", "label": "b", "backbone": {"dim": 4}},
                     {"plugin": "two"}]}


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, ["one", "two", "three"], suites={"own": SUITE})


def ask(shop: Workshop, **asked: Any) -> Any:
    return narrowed(Asked(**asked), shop.catalogue())


def test_a_suite_is_taken_as_it_is(shop: Workshop) -> None:
    assert ask(shop, suite="own") == shop.catalogue().suite("own")


def test_a_suite_is_narrowed_and_widened(shop: Workshop) -> None:
    found = ask(shop, suite="own", names=["one", "three"], datasets=["tiny/xrep"], seeds=[7, 7])
    assert [(e.plugin, e.label) for e in found.entries] == [("one", "a"), ("one", "b"), ("three", "")]
    assert found.datasets == ("tiny/xrep",)
    assert found.seeds == (7,)


def test_an_evaluator_keeps_the_keys_that_the_suite_gave_it(shop: Workshop) -> None:
    assert ask(shop, suite="own", evaluators=["knn"]).evaluators == (EvaluatorRef(name="knn"),)
    assert isinstance(ask(shop, suite="own", evaluators=["knn"]).evaluators[0], EvaluatorRef)
    assert ask(shop, suite="own", evaluators=["linear", "linear"]).evaluators == ("linear",)


def test_evaluators_of_an_entry_stay_where_they_are_asked_for(tmp_path: Path) -> None:
    entries = [{"plugin": "one", "evaluators": ["cluster", {"name": "linear", "config": {"l2": [0.1]}}]},
               {"plugin": "two"}]
    shop = Workshop(tmp_path, ["one", "two"], suites={"own": {**SUITE, "evaluators": ["knn"], "entries": entries}})
    plan = shop.plan(suite="own", datasets=["tiny/xsub"])
    assert {(cell.plugin, cell.evaluator) for cell in plan.evaluations} == {
        ("one", "knn"), ("one", "cluster"), ("one", "linear"), ("two", "knn")}
    assert [cell.evaluator_config["l2"] for cell in plan.evaluations if cell.evaluator == "linear"] == [[0.1]] * 2
    narrow = ask(shop, suite="own", evaluators=["knn", "cluster"])
    assert [entry.evaluators for entry in narrow.entries] == [("cluster",), ()]


def test_backbones_multiply_the_entries_and_drop_keys_of_others(shop: Workshop) -> None:
    found = ask(shop, suite="own", names=["one"], backbones=["tiny", "stgcn"])
    assert [(e.label, e.backbone_name, e.backbone) for e in found.entries] == [
        ("a", None, {}), ("a", "stgcn", {}), ("b", None, {"dim": 4}), ("b", "stgcn", {})]


def test_without_a_suite_one_is_made(shop: Workshop) -> None:
    found = ask(shop, names=["two", "one"], datasets=["tiny"])
    assert [e.plugin for e in found.entries] == ["two", "one"]
    assert found.evaluators == ("linear", "knn")
    assert found.seeds == (0,)


@pytest.mark.parametrize(("asked", "problem"), [
    ({}, "nothing to run. Give --suite"),
    ({"names": ["one"]}, "nothing to run"),
    ({"suite": "smok"}, "unknown suite 'smok'. Did you mean 'smoke'?"),
    ({"suite": "own", "names": ["thre"]}, "unknown plugin 'thre'. Did you mean 'three'?"),
    ({"names": ["one"], "datasets": ["tny/xsub"]}, "unknown dataset 'tny'. Did you mean 'tiny'?"),
    ({"names": ["one"], "datasets": ["tiny"], "evaluators": ["knm"]}, "unknown evaluator 'knm'. Did you mean 'knn'?"),
    ({"names": ["one"], "datasets": ["tiny"], "backbones": ["stgnc"]}, "unknown backbone 'stgnc'. Did you mean"),
    ({"names": ["../one"], "datasets": ["tiny"]}, "unknown plugin '../one'"),
    ({"suite": "own", "datasets": [""]}, "unknown dataset ''"),
    ({"suite": "own", "datasets": ["tiny/../../etc"]}, "datasets.0"),
    ({"suite": "own", "datasets": ["tiny+../../etc/x"]}, "datasets.0"),
    ({"names": ["one"], "datasets": ["tiny/A B"]}, "datasets.0"),
])
def test_what_can_not_be_asked_is_one_line(shop: Workshop, asked: dict[str, Any], problem: str) -> None:
    with pytest.raises((UnknownName, UsageMistake)) as caught:
        ask(shop, **asked)
    assert problem in caught.value.message
    assert caught.value.exit_code == 2


def test_a_broken_plugin_that_is_asked_for_by_name_says_why(shop: Workshop) -> None:
    (shop.root / "plugins" / "two" / "plugin.py").unlink()
    with pytest.raises(BrokenPlugin, match="names no file"):
        ask(shop, names=["two"], datasets=["tiny"])
    plan = shop.plan(suite="own")  # in a suite it is refused, and the others go on
    assert "names no file" in plan.refused[0].reason
    assert {cell.plugin for cell in plan.pretrainings} == {"one"}


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", "cpu:x", ""])
def test_a_device_that_is_not_here(shop: Workshop, device: str) -> None:
    from ssl_skel.bench.request import plan_of

    with pytest.raises(SkelError, match="--device") as caught:
        plan_of(Asked(names=["one"], datasets=["tiny"], device=device), shop.catalogue(), shop.root)
    assert caught.value.exit_code == 2
