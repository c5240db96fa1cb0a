"""Configurations: who overrides whom, and one clear line for a key or value that can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import BODY, Workshop
from ssl_skel.bench.plan import make_plan
from ssl_skel.bench.resolve import merge, parse_settings, resolve
from ssl_skel.data.layouts import get_layout
from ssl_skel.errors import BadCard, SkelError, UsageMistake
from ssl_skel.schema import Suite, SuiteEntry

LAYOUT = get_layout("nite_15")


def suite(**keys: Any) -> Suite:
    return Suite(**{"title": "t", "datasets": ("tiny/xsub",), "evaluators": ("knn",),
                    "entries": (SuiteEntry(plugin="tiny"),), **keys})


def resolved(shop: Workshop, entry: dict[str, Any] | None = None, settings: tuple[str, ...] = (), layout: Any = LAYOUT,
             **keys: Any) -> Any:
    return resolve(shop.catalogue(), suite(**keys), SuiteEntry(**{"plugin": "tiny", **(entry or {})}), "tiny", layout,
                   parse_settings(settings, ["tiny"]))


# -- --set --------------------------------------------------------------------------------------------------------


def test_settings_are_sorted_by_plugin_and_group() -> None:
    found = parse_settings(["scale=2", "train.lr=1e-3", "tiny:train.lr=0.5", "tiny:deep.er=[1, 2]", "backbone.dim=4",
                            "config.x=0", "deep.a=1", "deep.b=x=y"], ["tiny"])
    assert found.common.config == {"scale": 2, "x": 0, "deep": {"a": 1, "b": "x=y"}}
    assert found.common.train == {"lr": 0.001}
    assert found.common.backbone == {"dim": 4}
    assert found.by_plugin["tiny"].train == {"lr": 0.5}
    assert found.of("other") == [found.common]
    assert found.of("tiny") == [found.common, found.by_plugin["tiny"]]


@pytest.mark.parametrize(("item", "problem"), [
    ("scale", "is not KEY=VALUE"), ("=1", "is not KEY=VALUE"), ("", "is not KEY=VALUE"),
    ("tny:scale=1", "no plugin 'tny' is part of this run. Did you mean 'tiny'?"),
    ("a=[1, 2", "expected"), ("a=*x", "aliases"), ("a=!!python/name:os.system x", "tags"),
    ("a=" + "[" * 9999, "deeper"),
    ("a=.nan", "finite"), ("a={b: 1, b: 2}", "twice"), ("train.=1", "names no key"), (".a=1", "names no key"),
    ("tiny:=1", "names no key"), ("a..b=1", "names no key")])
def test_wrong_settings_are_one_line(item: str, problem: str) -> None:
    with pytest.raises(UsageMistake, match="--set") as caught:
        parse_settings([item], ["tiny"])
    assert problem in caught.value.message
    assert len(caught.value.message) < 10_200


def test_a_setting_below_a_plain_value_replaces_it() -> None:
    assert parse_settings(["a=1", "a.b=2"], []).common.config == {"a": {"b": 2}}
    assert parse_settings(["a.b=2", "a=1"], []).common.config == {"a": 1}


def test_merging_goes_key_by_key_and_changes_nothing_given() -> None:
    one, two = {"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "b": {"z": 1}}
    assert merge(one, two, {}) == {"a": {"x": 1, "y": 3}, "b": {"z": 1}}
    assert one == {"a": {"x": 1, "y": 2}, "b": 1}


# -- order --------------------------------------------------------------------------------------------------------


def test_the_more_specific_wins(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("tiny", config={"scale": 2}, train={"epochs": 3, "lr": 0.1, "batch": 9, "frames": 4},
                backbone_config={"dim": 6}, datasets={"tiny": {"train": {"lr": 0.2, "momentum": 0.1}}})
    found = resolved(shop, {"train": {"momentum": 0.3}, "config": {"scale": 3}},
                     train={"momentum": 0.2, "weight_decay": 0.1}, settings=("train.weight_decay=0.3",))
    assert found.config.model_dump() == {"scale": 3.0}
    assert (found.train.epochs, found.train.lr, found.train.momentum, found.train.weight_decay) == (3, 0.2, 0.3, 0.3)
    assert found.backbone_config.dim == 6
    assert found.stream_sets == (("encoder",),)


def test_keys_of_the_default_backbone_do_not_meet_another(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("tiny", backbone_config={"dim": 6}, datasets={"tiny": {"backbone": {"norm": False}}})
    assert resolved(shop).backbone_config.model_dump() == {"dim": 6, "dropout": 0.1, "norm": False}
    assert resolved(shop, {"backbone_name": "bigru"}).backbone.name == "bigru"


def test_a_floor_is_not_trained_whatever_the_budget(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("tiny", train={"epochs": 0})
    assert resolved(shop, train={"epochs": 5}, settings=("train.epochs=7",)).train.epochs == 0


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "problem"), [
    ("scal=2", "tiny on tiny: config: unknown key 'scal'. Did you mean 'scale'?"),
    ("scale=big", "tiny on tiny: config: scale: input should be a valid number"),
    ("scale=[1]", "scale: input should be a valid number"),
    ("train.epoch=2", "tiny on tiny: train: unknown key 'epoch'. Did you mean 'epochs'?"),
    ("train.lr=fast", "tiny on tiny: train: lr: input should be a valid number"),
    ("train.epochs=1.5", "epochs: input should be a valid integer"),
    ("train.batch=10", "can't be cut into"),
    ("train.optimizer=adamm", "unknown optimiser 'adamm'. Did you mean 'adam'?"),
    ("train.schedule=linear", "schedule: input should be 'cosine', 'constant' or 'multistep'"),
    ("backbone.width=3", "tiny on tiny: backbone tiny: unknown key 'width'"),
    ("train.batch=3", "a batch of 1 is smaller than the plugin's least, 2. Raise train.batch."),
])
def test_wrong_keys_and_values_are_one_line(tmp_path: Path, settings: str, problem: str) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("tiny", min_batch=2, train={"epochs": 1, "batch": 9, "frames": 4, "accumulate": 3})
    with pytest.raises(SkelError) as caught:
        resolved(shop, settings=(settings,))
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


def test_what_a_plugin_can_not_do_is_refused(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("tiny", layouts=["nite_15"], persons={"min": 2, "max": 2},
                backbones={"default": "tiny", "supported": ["stgcn"]})
    with pytest.raises(UsageMistake, match=r"does not support backbone 'bigru'\. It takes stgcn, tiny"):
        resolved(shop, {"backbone_name": "bigru"})
    with pytest.raises(SkelError, match="does not support layout kinect_v1_20"):
        resolved(shop, layout=get_layout("kinect_v1_20"))
    with pytest.raises(SkelError, match="takes 2 to 2 persons, the clips have up to 1"):
        resolved(shop)
    assert resolved(shop, layout=get_layout("nite_15", 2))
    with pytest.raises(UsageMistake, match=r"no stream other\. It has encoder"):
        resolved(shop, {"streams": (("encoder", "other"),)}, layout=get_layout("nite_15", 2))


@pytest.mark.parametrize(("body", "problem"), [
    ("\n    @classmethod\n    def check(cls, cfg, layout):\n        raise SkelError('needs two persons')\n",
     "needs two persons"),
    ("\n    @classmethod\n    def check(cls, cfg, layout):\n        return {}['k']\n", "check failed: KeyError: 'k'"),
    ("\n    @classmethod\n    def stream_sets(cls, cfg):\n        return 3\n", "check failed: TypeError"),
    ("\n\nPlugin.Config = dict\n", "its Config is no pydantic model"),
    ("\n\nclass Plugin:\n    pass\n", "is no PretextTask"),
])
def test_a_plugins_own_refusal_and_its_errors_are_one_line(tmp_path: Path, body: str, problem: str) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("tiny", body=BODY + body)
    with pytest.raises(SkelError) as caught:
        resolved(shop)
    assert problem in caught.value.message
    plan = shop.plan("tiny", "base")
    assert [(r.plugin, r.dataset) for r in plan.refused] == [("tiny", "tiny/xsub")]
    assert [cell.plugin for cell in plan.pretrainings] == ["base"]


def test_a_plugin_file_that_does_not_parse_refuses_that_plugin_only(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["base"])
    (shop.plugin("tiny") / "unused.py").write_text("def f(:")
    plan = shop.plan("tiny", "base")
    assert "does not parse" in plan.refused[0].reason
    assert len(plan.pretrainings) == 1


def test_a_wrong_key_of_an_evaluator_is_one_line(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    from ssl_skel.bench.plan import PlanRequest

    wrong = suite(evaluators=({"name": "knn", "config": {"kk": 3}},))
    with pytest.raises(BadCard, match="evaluator knn: unknown key 'kk'"):
        make_plan(PlanRequest(wrong, "x", tmp_path, "fp32"), shop.catalogue())
