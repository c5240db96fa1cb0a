"""The shipped suites: whatever they name exists and fits, on data that is not there to be planned with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_skel.bench.plan import _evaluation, _references
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.resolve import Settings, resolve
from ssl_skel.data.joints import joint_map
from ssl_skel.registry import discover

SUITES = discover().names("suites")
QUESTIONS = ("paper5", "robustness", "cross-dataset", "transfer", "semi", "contrastive-vs-colorization")
FIVE = {"ntu60", "ntu120", "pku-mmd-1", "pku-mmd-2", "nw-ucla", "uwa3d"}


@pytest.mark.parametrize("name", SUITES)
def test_every_entry_fits_every_dataset(name: str) -> None:
    catalogue = discover()
    suite = catalogue.suite(name)
    evaluations = [_evaluation(catalogue, item) for item in suite.evaluators]
    assert bool(suite.targets) or not any(one.across for one in evaluations)
    layouts = {}
    for reference in _references(catalogue, suite.datasets):
        card = catalogue.load("datasets", reference.split("/")[0])
        layouts[reference] = card.get_layout()
        for entry in suite.entries:
            resolved = resolve(catalogue, suite, entry, card.name, card.get_layout(), Settings())
            assert resolved.stream_sets
    for reference in _references(catalogue, suite.targets):
        target = catalogue.load("datasets", reference.split("/")[0]).get_layout()
        for layout in layouts.values():
            joint_map(target, layout)
    assert catalogue.get("plugins", suite.baseline).card
    assert suite.baseline in {entry.plugin for entry in suite.entries}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_a_small_twin_on_real_and_synthetic_data(name: str) -> None:
    suite, twin = discover().suite(name), discover().suite(f"{name}-small")
    assert len(suite.seeds) >= 3
    assert {ref.split("/")[0] for ref in (*twin.datasets, *twin.targets)} >= {"nw-ucla", "sbu"}
    assert any(ref.startswith("synthetic") for ref in twin.datasets)
    assert {entry.plugin for entry in suite.entries} >= {entry.plugin for entry in twin.entries}


def test_paper5_has_the_five_datasets_and_every_shipped_method() -> None:
    suite = discover().suite("paper5")
    assert {ref.split("/")[0] for ref in suite.datasets} == FIVE
    assert {entry.plugin for entry in suite.entries} == {
        entry.name for entry in discover().entries("plugins") if "plugins" in entry.origin or entry.shipped}


@pytest.mark.parametrize("name", ["persons", *(f"{name}-small" for name in QUESTIONS)])
def test_the_synthetic_part_of_a_small_suite_can_be_planned(name: str, tmp_path: Path) -> None:
    suite = discover().suite(name)
    made = [ref for ref in suite.datasets if ref.startswith("synthetic")]
    targets = ["synthetic/xview"] if suite.targets else []
    plan = plan_of(Asked(suite=name, datasets=made, targets=targets, device="cpu"), discover(), tmp_path)
    refused = {(refusal.plugin, refusal.reason) for refusal in plan.refused}
    raw = {("random", "backbone raw is built for clips of 2 persons, synthetic has 1")}
    assert refused == (raw if name == "cross-dataset-small" else set())
    assert not plan.missing
    assert {cell.plugin for cell in plan.evaluations} == {entry.plugin for entry in suite.entries}


def test_training_keys_of_one_dataset_reach_that_dataset_only() -> None:
    catalogue = discover()
    suite = catalogue.suite("paper5-small")
    entry = next(entry for entry in suite.entries if entry.plugin == "simclr")
    colour = next(entry for entry in suite.entries if entry.plugin == "colorization")
    for dataset, budget in (("nw-ucla", (64, 40)), ("sbu", (16, 20))):
        layout = catalogue.load("datasets", dataset).get_layout()
        train = resolve(catalogue, suite, entry, dataset, layout, Settings()).train
        assert (train.batch, train.epochs) == budget
        assert resolve(catalogue, suite, colour, dataset, layout, Settings()).train.batch == 24  # the entry's own
