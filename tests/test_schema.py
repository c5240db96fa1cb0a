"""The models of cards, registry and suites, and their JSON Schemas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from helpers.records import make_record
from helpers.tiny import REPO
from ssl_skel.bench.record import Failure, Record
from ssl_skel.errors import BadCard
from ssl_skel.schema import PluginCard, RegistryFile, Suite, TrainConfig
from ssl_skel.yamlio import load_yaml, validate

CARD: dict[str, Any] = {"schema": 1, "name": "a-b", "version": 1, "family": "other", "summary": "s",
                        "backbones": {"default": "tiny"}}
SUITE: dict[str, Any] = {"title": "t", "datasets": ["a/b"], "evaluators": ["knn"], "entries": [{"plugin": "a"}]}


@pytest.mark.parametrize("change", [
    {"schema": 2}, {"name": "A"}, {"name": "../a"}, {"name": "a--b"}, {"name": "a\n"}, {"name": "a" * 61}, {"name": ""},
    {"version": 0}, {"version": "one"}, {"target": "plugin"}, {"target": "os:system('x')"}, {"target": "../x:Y"},
    {"family": "best"}, {"summary": "s" * 201}, {"layouts": ["coco"]}, {"min_batch": 0}, {"config": [1]},
    {"config": {1: 2}}, {"datasets": {"../x": {}}}, {"requires": [""]}, {"requires": ["torch>=2"]},
    {"paper": {"title": "t", "url": "javascript:alert(1)"}}, {"extra": 1}, {"persons": {"min": 0}},
    {"deviations": "one sentence"}])
def test_wrong_cards_are_refused(change: dict[str, Any]) -> None:
    PluginCard.model_validate(CARD)
    with pytest.raises(ValidationError):
        PluginCard.model_validate({**CARD, **change})


@pytest.mark.parametrize("change", [
    {"datasets": []}, {"datasets": ["a/b/c"]}, {"datasets": ["../a"]}, {"datasets": ["a\n"]}, {"evaluators": []},
    {"entries": []}, {"entries": [{"plugin": "a", "config": 3}]}, {"seeds": [-1]}, {"precision": "fp8"},
    {"fusions": ["mean"]}, {"selection": "best"}, {"evaluators": [{"name": "knn", "k": 3}]}, {"baseline": "A B"}])
def test_wrong_suites_are_refused(change: dict[str, Any]) -> None:
    Suite.model_validate(SUITE)
    with pytest.raises(ValidationError):
        Suite.model_validate({**SUITE, **change})


@pytest.mark.parametrize("change", [
    {"epochs": -1}, {"batch": 0}, {"frames": 0}, {"frames": 5000}, {"lr": 0}, {"lr": float("nan")},
    {"lr": float("inf")}, {"momentum": 1.0}, {"warmup": 1.0}, {"gamma": 0}, {"clip_grad": 0}, {"ema": 1.0},
    {"rotate": 200}, {"betas": [0.9]}, {"betas": [0.9, 1.0]}, {"milestones": [1.5]}, {"schedule": "poly"},
    {"max_steps": 0}, {"batch": 9, "accumulate": 2}])
def test_wrong_training_keys_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate(change)


@pytest.mark.parametrize("model", [PluginCard, RegistryFile, Suite, TrainConfig, Record, Failure])
def test_models_are_frozen_and_have_valid_json_schemas(model: type[BaseModel]) -> None:
    import jsonschema

    schema = model.model_json_schema(by_alias=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert model.model_config["frozen"]


def test_the_json_schema_of_a_card_agrees_with_the_model() -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(PluginCard.model_json_schema(by_alias=True))
    assert validator.is_valid(CARD)
    assert not validator.is_valid({**CARD, "nam": 1})
    assert not validator.is_valid({**CARD, "version": "one"})


@pytest.mark.parametrize("change", [
    {"name": "../x"}, {"name": "A"}, {"name": "a" * 61}, {"train": {"epochz": 3}}, {"train": {"lr": -1}},
    {"train": {"schedule": "poly"}}, {"tiny": {"train": {"batch": 0}}}, {"datasets": {"sbu": {"train": {"lrr": 1}}}},
    {"backbones": {"default": "A B"}}])
def test_an_editor_sees_what_the_suite_would_refuse(change: dict[str, Any]) -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(PluginCard.model_json_schema(by_alias=True))
    assert validator.is_valid({**CARD, "train": {"lr": 0.1, "clip_grad": None, "betas": [0.9, 0.99]}})
    assert not validator.is_valid({**CARD, **change})


def test_the_json_schemas_accept_what_is_shipped() -> None:
    import jsonschema

    shipped = {PluginCard: sorted((REPO / "plugins").glob("*/plugin.yaml")), RegistryFile: [REPO / "registry.yaml"]}
    for model, paths in shipped.items():
        validator = jsonschema.Draft202012Validator(model.model_json_schema(by_alias=True))
        for path in paths:
            assert not list(validator.iter_errors(load_yaml(path))), path


junk = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=6)


WHOLE: dict[type[BaseModel], dict[str, Any]] = {
    PluginCard: CARD, Suite: SUITE, TrainConfig: {},
    RegistryFile: {"plugins": ["plugins/*"], "datasets": {"a": {"target": "a:B"}}, "suites": {"s": SUITE}},
    Record: make_record(0.5)[0].model_dump(mode="json", by_alias=True),
    Failure: {"id": "0" * 16, "cell": {}, "status": "error", "stage": "x", "message": "m", "when": "now"}}


@pytest.mark.parametrize("model", WHOLE)
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_change_is_refused_in_one_line_or_survives_a_round_trip(model: type[BaseModel], data: st.DataObject) -> None:
    names = [field.alias or name for name, field in model.model_fields.items()]
    changes = data.draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=5), junk, min_size=1, max_size=3))
    message, found = "", None
    try:
        found = validate(model, {**WHOLE[model], **changes}, "x")
    except BadCard as error:
        message = error.message
    assert "\n" not in message
    assert len(message) < 1500
    assert found is None or model.model_validate(found.model_dump(by_alias=True)) == found


@given(st.dictionaries(st.sampled_from([*PluginCard.model_fields, "schema"]), junk))
@settings(max_examples=300, deadline=None)
def test_any_card_is_refused_or_made_by_the_rules(changes: dict[str, Any]) -> None:
    try:
        card = PluginCard.model_validate({**CARD, **changes})
    except ValidationError:
        return
    assert PluginCard.model_validate(card.model_dump(by_alias=True)) == card
