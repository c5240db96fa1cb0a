"""Plans: an id changes with all that can change the number, and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import BODY, CARD, Workshop
from ssl_skel import ids
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.plan import PlanRequest, make_plan
from ssl_skel.data.store import Store
from ssl_skel.errors import UnknownName
from ssl_skel.schema import Suite, SuiteEntry


def ids_of(plan: Plan) -> tuple[list[str], list[str]]:
    return [cell.id for cell in plan.pretrainings], [cell.id for cell in plan.evaluations]


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_a_plan_is_the_same_every_time(shop: Workshop, tmp_path: Path) -> None:
    first = ids_of(shop.plan(evaluators=("knn", "linear")))
    assert first == ids_of(shop.plan(evaluators=("knn", "linear")))
    assert first == ids_of(Workshop(tmp_path / "elsewhere").plan(evaluators=("knn", "linear")))
    assert len(first[0]) == 1
    assert len(set(first[1])) == 2
    assert all(len(cell_id) == 16 for cell_id in first[0] + first[1])


CHANGES: dict[str, Callable[[Workshop], dict[str, Any]]] = {
    "config": lambda shop: {"settings": ["scale=2"]},
    "train": lambda shop: {"settings": ["train.lr=0.5"]},
    "batch": lambda shop: {"settings": ["train.batch=3"]},
    "frames": lambda shop: {"settings": ["train.frames=5"]},
    "backbone": lambda shop: {"settings": ["backbone.dim=4"]},
    "backbone-name": lambda shop: {"backbones": ["stgcn"]},
    "seed": lambda shop: {"seeds": [1]},
    "precision": lambda shop: {"precision": "bf16"},
    "split": lambda shop: {"datasets": ["tiny/xrep"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_ids_change_with_what_changes_a_weight(shop: Workshop, change: str) -> None:
    before, after = ids_of(shop.plan()), ids_of(shop.plan(**CHANGES[change](shop)))
    assert before[0][0] != after[0][0]
    assert before[1][0] != after[1][0]


@pytest.mark.parametrize(("edit", "changes"), [
    (lambda text: text + "\n# a comment\n", False), (lambda text: text.replace("0.01 *", "0.02 *"), True),
    (lambda text: text.replace("class Config(TaskConfig):", 'class Config(TaskConfig):\n    """Keys."""\n'), False)])
def test_ids_change_with_the_plugins_code_not_its_comments(shop: Workshop, edit: Callable[[str], str],
                                                           changes: bool) -> None:
    before = ids_of(shop.plan())
    path = shop.root / "plugins" / "tiny" / "plugin.py"
    assert edit(path.read_text()) != BODY
    path.write_text(edit(path.read_text()))
    assert (ids_of(shop.plan()) != before) == changes


def test_ids_change_with_the_data(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    import helpers.tiny

    before = shop.plan()
    clips = list(helpers.tiny._clips())
    clips[0].xyz[0, 0, 0, 0] += 0.5
    monkeypatch.setattr(helpers.tiny, "_clips", lambda: iter(clips))
    after = shop.plan()
    assert ids_of(before)[0] != ids_of(after)[0]
    assert before.pretrainings[0].train_digest == after.pretrainings[0].train_digest


def test_ids_change_with_versions(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers.tiny import TinyNet
    from ssl_skel.evaluators.knn import KNN

    before = ids_of(shop.plan())
    monkeypatch.setattr(KNN, "version", KNN.version + 1)
    other = ids_of(shop.plan())
    assert other[0] == before[0]
    assert other[1] != before[1]
    monkeypatch.setattr(TinyNet, "version", 2)
    assert ids_of(shop.plan())[0] != before[0]
    monkeypatch.undo()
    monkeypatch.setattr(ids, "CORE_NUMERICS", ids.CORE_NUMERICS + 1)
    assert ids_of(shop.plan())[0] != before[0]


def test_ids_do_not_change_with_label_summary_or_place(shop: Workshop, tmp_path: Path) -> None:
    before = shop.plan()
    other = Workshop(tmp_path / "other", suites={"named": {
        "title": "Another title", "datasets": ["tiny/xsub"], "evaluators": ["knn"], "baseline": "random",
        "entries": [{"plugin": "tiny", "label": "mine"}]}})
    card = other.root / "plugins" / "tiny" / "plugin.yaml"
    card.write_text(card.read_text().replace("summary: tiny tiny", "summary: something else"))
    after = other.plan(suite="named")
    assert ids_of(before) == ids_of(after)
    assert after.evaluations[0].label == "mine"
    assert after.pretrainings[0].title == "tiny [mine] (tiny) on tiny/xsub, seed 0"


def test_splits_with_the_same_training_part_share_a_pretraining(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny/xsub", "tiny/xsub-clean"], evaluators=["knn", "linear"])
    assert len(plan.pretrainings) == 1
    assert len({cell.id for cell in plan.evaluations}) == 4
    assert {cell.pretrain_id for cell in plan.evaluations} == {plan.pretrainings[0].id}
    assert [cell.split for cell in plan.evaluations] == ["xsub"] * 2 + ["xsub-clean"] * 2
    assert plan.pretraining(plan.pretrainings[0].id).split == "xsub"


def test_the_same_cell_asked_for_twice_is_one_cell(shop: Workshop) -> None:
    once = ids_of(shop.plan())
    assert ids_of(shop.plan("tiny", "tiny", datasets=["tiny/xsub", "tiny/xsub"], evaluators=["knn", "knn"],
                            seeds=[0, 0])) == once


def test_several_seeds_and_fused_streams(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["base"])
    shop.plugin("duo", body=BODY + "\n    @classmethod\n    def stream_sets(cls, cfg):\n"
                "        return (('a',), ('b',), ('a', 'b'))\n")
    plan = shop.plan("duo", seeds=[0, 1])
    assert len(plan.pretrainings) == 2
    assert [("+".join(c.streams), c.fusion) for c in plan.evaluations[:4]] == [
        ("a", "single"), ("b", "single"), ("a+b", "concat"), ("a+b", "scores")]
    assert len({c.id for c in plan.evaluations}) == 8


def test_weights_are_part_of_summed_scores_only(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.plugin("duo", body=BODY + "\n    @classmethod\n    def stream_sets(cls, cfg):\n"
                "        return (('a',), ('b',), ('a', 'b'))\n")

    def plan(**entry: Any) -> Plan:
        suite = Suite(title="t", datasets=("tiny/xsub",), evaluators=("knn",),
                      entries=(SuiteEntry(plugin="duo", **entry),))
        return make_plan(PlanRequest(suite, "t", tmp_path / "data", "fp32"), shop.catalogue())

    plain = {cell.id for cell in plan().evaluations}
    weighed = plan(weights={"a": 0.6, "b": 0.4}).evaluations
    assert [cell.weights for cell in weighed if cell.id not in plain] == [{"a": 0.6, "b": 0.4}]
    assert [cell.fusion for cell in weighed if cell.weights] == ["scores"]
    refused, = plan(weights={"c": 1.0}).refused
    assert "unknown encoder to weigh 'c'" in refused.reason


def test_a_dataset_that_is_not_there_does_not_stop_the_others(shop: Workshop) -> None:
    plan = shop.plan(datasets=["absent/xsub", "tiny/xsub"])
    assert len(plan.pretrainings) == 1
    assert list(plan.missing) == ["absent/xsub"]


def test_a_batch_larger_than_the_training_part_is_refused(shop: Workshop) -> None:
    plan = shop.plan(settings=["train.batch=28"])
    assert not plan.pretrainings
    assert plan.refused[0].reason == "a batch of 28 is larger than the 27 training clips. Lower train.batch."
    assert shop.plan(settings=["train.batch=27"]).pretrainings
    assert shop.plan(settings=["train.batch=28", "train.epochs=0"]).pretrainings  # nothing is trained


def test_a_known_leak_is_warned_of(shop: Workshop) -> None:
    assert shop.plan().warnings == ("tiny/xsub: a made-up leak; tiny/xsub-clean leaves them out",)
    assert not shop.plan(datasets=["tiny/xrep"]).warnings


def test_a_split_may_be_left_out_and_must_exist(shop: Workshop) -> None:
    assert ids_of(shop.plan(datasets=["tiny"])) == ids_of(shop.plan(datasets=["tiny/xsub"]))
    with pytest.raises(UnknownName, match="Did you mean 'xsub'"):
        shop.plan(datasets=["tiny/xsup"])


def test_the_plan_file_holds_what_boards_and_status_need(shop: Workshop) -> None:
    plan = shop.plan(evaluators=["knn", "linear"])
    content = json.loads(json.dumps(plan.file_content()))
    assert [cell["id"] for cell in content["cells"]] == [cell.id for cell in plan.evaluations]
    assert content["cells"][0]["cell"]["evaluator"] == "knn"
    assert content["pretrainings"][0]["train"]["batch"] == 9
    assert Plan.model_validate(plan.model_dump()) == plan


def test_planning_imports_no_clip(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_skel.data import open as opening

    monkeypatch.setattr(opening, "load_clips", lambda *_, **__: pytest.fail("clips were loaded"))
    assert isinstance(opening.open_dataset("tiny", card=CARD).store, Store)
    assert shop.plan().evaluations
