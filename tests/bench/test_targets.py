"""Pretrained on one dataset, tested on another: plans, records, caches, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.tiny import TinyNet, Workshop, results
from helpers.tiny_more import DATASETS
from ssl_skel.bench.cells import EvalCell, Plan
from ssl_skel.bench.store import RecordStore
from ssl_skel.data import joints
from ssl_skel.errors import UnknownName, UsageMistake

QUICK = {"name": "transfer", "config": {"epochs": 1, "l2": [0.1]}}


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, datasets=DATASETS)


def places(plan: Plan) -> list[tuple[str, str]]:
    """What was pretrained on ("" for its own) and what is tested on, of each cell."""
    return [(cell.origin.reference if cell.origin else "", f"{cell.dataset}/{cell.split}") for cell in plan.evaluations]


def test_encoders_are_tested_on_every_target_and_pretrained_once(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny"], targets=["tiny-20", "tiny-25", "tiny/xsub"], evaluators=["linear"])
    assert len(plan.pretrainings) == 1
    assert places(plan) == [("tiny/xsub", "tiny-20/xsub"), ("tiny/xsub", "tiny-25/xsub"), ("", "tiny/xsub")]
    origins = [cell.origin for cell in plan.evaluations[:2]]
    assert {(o.layout, o.persons, o.joints) for o in origins if o} == {("nite_15", 1, joints.VERSION)}
    assert plan.evaluations[0].title == ("linear of tiny encoder, pretrained on tiny/xsub, on tiny-20/xsub")
    assert not plan.refused


def test_the_diagonal_of_a_matrix_is_the_cell_of_the_ordinary_suite(shop: Workshop) -> None:
    own = shop.plan(datasets=["tiny"]).evaluations[0]
    matrix = shop.plan(datasets=["tiny", "tiny-20"], targets=["tiny", "tiny-20"])
    assert own in matrix.evaluations
    assert own.identity() == {key: value for key, value in own.identity().items() if key != "joints"}
    assert len({cell.id for cell in matrix.evaluations}) == 4


def test_a_clean_twin_of_what_was_pretrained_on_is_its_own_split(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny/xsub"], targets=["tiny/xsub-clean"])
    assert plan.evaluations == shop.plan(datasets=["tiny/xsub-clean"]).evaluations
    assert plan.evaluations[0].origin is None


def test_ids_change_with_the_mapping_and_the_source(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(source: str) -> EvalCell:
        return shop.plan(datasets=[source], targets=["tiny"]).evaluations[0]

    before = one("tiny-20")
    assert before.id != one("tiny-25").id
    monkeypatch.setattr(joints, "VERSION", joints.VERSION + 1)
    assert one("tiny-20").id != before.id


def test_the_target_is_preprocessed_like_the_source(shop: Workshop) -> None:
    plan = shop.plan(suite=None, datasets=["tiny-20"], targets=["tiny"])
    assert plan.evaluations[0].preprocessing == plan.pretrainings[0].preprocessing


def test_a_target_that_is_missing_or_unknown(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny"], targets=["absent/xsub", "tiny-20"])
    assert places(plan) == [("tiny/xsub", "tiny-20/xsub")]
    assert list(plan.missing) == ["absent/xsub"]
    with pytest.raises(UnknownName, match=r"unknown dataset 'tiny-2'. Did you mean"):
        shop.plan(datasets=["tiny"], targets=["tiny-2"])


def test_test_clips_that_were_pretrained_on_are_refused(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny-20/xsub"], targets=["tiny-20/other", "tiny-twin/other", "tiny-twin/xsub"])
    assert places(plan) == [("tiny-20/xsub", "tiny-twin/xsub")]
    assert [(r.plugin, r.dataset) for r in plan.refused] == [
        ("tiny", "tiny-20/xsub to tiny-20/other"), ("tiny", "tiny-20/xsub to tiny-twin/other")]
    assert plan.refused[1].reason.startswith("9 of the 9 test clips of tiny-twin/other are training clips of tiny-20/")


def test_a_matrix_over_folds_has_only_clean_places(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny-20/both", "tiny"], targets=["tiny-20/both", "tiny"])
    assert not plan.refused
    assert sorted(places(plan)) == [
        ("", "tiny-20/other"), ("", "tiny-20/xsub"), ("", "tiny/xsub"), ("tiny-20/other", "tiny/xsub"),
        ("tiny-20/xsub", "tiny/xsub"), ("tiny/xsub", "tiny-20/other"), ("tiny/xsub", "tiny-20/xsub")]


def test_layouts_without_a_mapping_are_refused(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joints, "TABLES", {})
    plan = shop.plan(datasets=["tiny"], targets=["tiny-20", "tiny"])
    assert places(plan) == [("", "tiny/xsub")]
    assert [r.reason.split(". ")[0] for r in plan.refused] == [
        "there is no joint mapping from kinect_v1_20 to nite_15"]


def test_a_backbone_that_can_not_encode_the_target_is_refused(shop: Workshop) -> None:
    """Clouds of two persons have 160 points; those of one, shown to the same encoder, 80."""
    asked = {"backbones": ["dgcnn"], "settings": ["backbone.k=100", "train.epochs=0"]}
    plan = shop.plan(datasets=["tiny-20"], targets=["tiny", "tiny-20"], **asked)
    assert places(plan) == [("", "tiny-20/xsub")]
    assert "k = 100 neighbours among the 80 points" in plan.refused[0].reason


def test_weights_for_one_person_are_not_tested_on_two(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of raw joints, which are one long vector of all persons."""
    monkeypatch.setattr(TinyNet, "fixed_persons", True)
    plan = shop.plan(datasets=["tiny"], targets=["tiny-20", "tiny-25"])
    assert places(plan) == [("tiny/xsub", "tiny-25/xsub")]
    assert [refusal.reason.rpartition(": ")[2] for refusal in plan.refused] == [
        "backbone tiny is built for clips of 1 persons, tiny-20 has 2"]


def test_transfer_needs_another_dataset(shop: Workshop) -> None:
    with pytest.raises(UsageMistake, match="'transfer' tests on another dataset"):
        shop.plan(datasets=["tiny"], evaluators=["transfer"])
    plan = shop.plan(datasets=["tiny"], targets=["tiny", "tiny-20"], evaluators=["transfer", "knn"])
    assert [(cell.evaluator, cell.dataset) for cell in plan.evaluations] == [
        ("knn", "tiny"), ("transfer", "tiny-20"), ("knn", "tiny-20")]


# -- bad splits ---------------------------------------------------------------------------------------------------

EVERY = ("linear", "linear-sgd", "knn", "retrieval", "cluster", "fewshot", "finetune", "semi-10", "early",
         "robustness", "shuffled")
CHOOSING = {"linear", "linear-sgd", "early", "robustness", "shuffled"}


@pytest.mark.parametrize(("split", "who", "why"), [
    ("absent-class", set(EVERY), "the training part has no clip of class 1 (1 of 3 classes are absent)"),
    ("one-clip", set(EVERY), "the test part has 1 clip(s), from which no accuracy can be told"),
    ("one-subject", CHOOSING, "nothing can be chosen: 0 of 9 training clips are of held-out subjects"),
])
def test_splits_on_which_a_protocol_can_not_be_run_are_refused(shop: Workshop, split: str, who: set[str],
                                                               why: str) -> None:
    plan = shop.plan(datasets=[f"tiny-20/{split}"], evaluators=EVERY)
    assert {refusal.plugin.removeprefix("evaluator ") for refusal in plan.refused} == who
    assert all(refusal.reason.startswith(why) for refusal in plan.refused)
    assert {cell.evaluator for cell in plan.evaluations} == set(EVERY) - who
    assert bool(plan.pretrainings) == bool(plan.evaluations)  # nothing is pretrained for nobody


def test_a_bad_target_is_refused_too(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny"], targets=["tiny-20/one-clip", "tiny-20"], evaluators=["knn"])
    assert places(plan) == [("tiny/xsub", "tiny-20/xsub")]
    assert plan.refused[0].dataset == "tiny-20/one-clip"


def test_on_a_one_shot_split_only_few_shot_is_run_across_skeletons_too(shop: Workshop) -> None:
    plan = shop.plan(datasets=["tiny-20/one-shot", "tiny"], targets=["tiny-20/one-shot"], evaluators=EVERY)
    assert [(cell.evaluator, bool(cell.origin)) for cell in plan.evaluations] == [("fewshot", False), ("fewshot", True)]
    assert {refusal.plugin for refusal in plan.refused} == {f"evaluator {name}" for name in EVERY if name != "fewshot"}
    assert shop.run_here(plan) == 1  # refused evaluators make a run incomplete
    records = RecordStore(shop.out).all()
    assert [record.metrics["top1"] for record in records] == [1.0, 1.0]
    assert {record.n.test for record in records} == {22}


# -- running ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A run over three skeletons, every way, all of it in this process."""
    names = ["tiny", "tiny-20", "tiny-25"]
    made = Workshop(tmp_path_factory.mktemp("matrix"), datasets=DATASETS, suites={"matrix": {
        "title": "Matrix", "datasets": names, "targets": list(names), "evaluators": [QUICK, "linear", "knn"],
        "entries": [{"plugin": "tiny"}], "baseline": "tiny"}})
    assert made.run_here(made.plan(suite="matrix"), threads=1) == 0
    return made


def test_records_name_what_was_pretrained_on_and_what_was_tested_on(matrix: Workshop) -> None:
    records = RecordStore(matrix.out).all()
    assert len(records) == 9 * 2 + 6
    for record in records:
        data, before = record.pretraining_data, record.cell.pretrained_on
        assert data is not None
        assert data.data == (before or f"{record.cell.dataset}/{record.cell.split}")
        assert data.own == (not before)
        assert (record.config.get("joints") is not None) == bool(before)
    found = next(r for r in records if (r.cell.dataset, r.cell.pretrained_on) == ("tiny", "tiny-20/xsub"))
    absent = ["hip_center", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]
    assert found.config["joints"] == {"from": "nite_15", "to": "kinect_v1_20", "version": joints.VERSION,
                                      "absent": absent}
    assert found.pretraining_data is not None
    assert list(found.pretraining_data.absent) == absent
    assert found.pretraining_data.layout == "kinect_v1_20"


def test_features_are_extracted_once_for_each_encoder_and_target(matrix: Workshop) -> None:
    """Three encoders on three datasets, a training and a test part each, shared by three evaluators."""
    assert len(list((matrix.out / "features").rglob("*.safetensors"))) == 3 * 3 * 2


def test_the_classes_are_found_across_skeletons(matrix: Workshop) -> None:
    """Joints 0, 1 and 2 stand out; they are shown to each encoder, so that a probe tells the classes."""
    records = [r for r in RecordStore(matrix.out).all() if r.cell.evaluator == "knn" and r.cell.dataset == "tiny"]
    assert {r.cell.pretrained_on: r.metrics["top1"] for r in records} == {
        "": 1.0, "tiny-20/xsub": 1.0, "tiny-25/xsub": 1.0}


def test_the_board_has_the_matrix(matrix: Workshop) -> None:
    text = (matrix.out / "boards" / "matrix" / "board.md").read_text()
    assert "## Across datasets, top-1: tiny (tiny), encoder, pretrained on the row, linear on the column" in text
    assert text.count("| tiny-25/xsub |") >= 3


def test_a_transferred_record_is_stale_when_the_mapping_changes(matrix: Workshop,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_skel.bench import staleness

    records, catalogue = RecordStore(matrix.out).all(), matrix.catalogue()
    assert not any(staleness.stale_parts(record, catalogue) for record in records)
    monkeypatch.setattr(staleness, "VERSION", joints.VERSION + 1)
    assert {bool(record.cell.pretrained_on): staleness.stale_parts(record, catalogue) for record in records} == {
        False: [], True: ["core"]}


def test_a_second_run_has_nothing_to_do(matrix: Workshop) -> None:
    before = results(matrix.out)
    assert matrix.run_here(matrix.plan(suite="matrix"), threads=1) == 0
    assert results(matrix.out) == before


@pytest.mark.parametrize(("line", "why"), [
    ("self.encoder.outer.weight.data.zero_()", "has the same features for all 27 training clips"),
    ("step < total or self.encoder.outer.bias.data.fill_(float('nan'))",
     "has NaN or infinite features for 27 clip(s)")])
def test_an_encoder_that_tells_nothing_is_a_failure_and_no_number(tmp_path: Path, line: str, why: str) -> None:
    shop = Workshop(tmp_path, datasets=DATASETS)
    shop.plugin("dull", line)
    evaluators = ("linear", "knn", "retrieval", "cluster", "fewshot")
    assert shop.run_here(shop.plan("dull", datasets=["tiny"], targets=["tiny", "tiny-20"], evaluators=evaluators)) == 1
    store = RecordStore(shop.out)
    assert store.all() == []
    failures = store.failures()
    assert len(failures) == 2 * len(evaluators)
    assert all(why in failure.message and failure.status == "refused" for failure in failures)
