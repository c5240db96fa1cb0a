"""YAML from strangers: one clear line for whatever is wrong, quickly, and nothing but plain data."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ssl_skel.errors import BadCard
from ssl_skel.schema import PluginCard, RegistryFile, TrainConfig
from ssl_skel.yamlio import MAX_BYTES, load_yaml, parse_value, parse_yaml, validate

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-10**6, 10**6) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"),
              max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z_]{2,8}", fullmatch=True), inner,
                                                                max_size=4), max_leaves=12)


@given(plain)
@settings(max_examples=100, deadline=None)
def test_plain_data_comes_back_as_it_was(value: object) -> None:
    assert parse_value(json.dumps(value, ensure_ascii=False), "x") == value  # JSON is YAML


@pytest.mark.parametrize(("text", "value"), [
    ("1e-3", 0.001), ("-2.5E+4", -25000.0), ("2020-01-01", "2020-01-01"), ("3", 3), ("true", True), ("~", None)])
def test_scalars_mean_what_people_think(text: str, value: object) -> None:
    found = parse_value(text, "x")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("text", "problem"), [
    ("a: 1\nb: 2\na: 3", "x line 3: key 'a' stands twice"),
    ("a: {b: 1, b: 2}", "key 'b' stands twice"),
    ("a: &x [1]\nb: *x", "aliases are not allowed"),
    ("a: *x", "aliases are not allowed"),
    ("<<: {a: 1}\na: 2\nb: !!python/object:os.system [ls]", "tags are not allowed"),
    ("a: !!bool maybe", "tags are not allowed"),
    ("!!map [1]", "tags are not allowed"),
    ("a: .nan", "must be finite"),
    ("a: -.inf", "must be finite"),
    ("a: 1.0e+999", "must be finite"),
    ("{1: 2}", "a key must be text"),
    ("? [a]\n: 1", "a key must be text"),
    ("- 1", "holds no mapping"),
    ("", "holds no mapping"),
    ("a: b: c", "mapping values are not allowed"),
    ("a: [1, 2", "expected"),
    ("a: \x07", "not allowed in YAML"),
    ("a: 0b_", "invalid literal"),
    ("a: " + "9" * 5000, "digits"),
    ("[" * 100_000, "nested deeper than 40"),
    ("a: " + "{b: " * 5000, "nested deeper than 40"),
    ("---\na: 1\n---\nb: 2", "single document"),
])
def test_what_is_wrong_is_said_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(BadCard) as caught:
        parse_yaml(text, "x")
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_a_long_list_is_refused_before_it_costs_much() -> None:
    began = time.perf_counter()
    with pytest.raises(BadCard, match="more than 30000 values"):
        parse_value("[" + "1," * 300_000 + "1]", "x")
    assert time.perf_counter() - began < 30


def test_a_file_of_ten_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "plugin.yaml"
    path.write_text("name: " + "x" * 10_000_000)
    with pytest.raises(BadCard, match="larger than 1000 kB"):
        load_yaml(path)


def test_a_string_that_fills_a_card_is_cut_short_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "plugin.yaml"
    path.write_text(f"{'k' * (MAX_BYTES // 2)}: 1\nname: {'x' * (MAX_BYTES // 3)}")
    with pytest.raises(BadCard) as caught:
        validate(PluginCard, load_yaml(path), str(path))
    assert len(caught.value.message) < 1000


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("title: Schöne Grüße".encode("latin-1"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, problem in (("latin", "no UTF-8"), ("pipe", "no such file"), ("absent", "no such file"),
                          ("loop", "no such file"), (".", "no such file")):
        with pytest.raises(BadCard, match=problem):
            load_yaml(tmp_path / name)


def test_an_endless_device_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(BadCard):
        load_yaml(tmp_path / "zero")


@pytest.mark.parametrize(("model", "data", "problem"), [
    (TrainConfig, {"epoch": 3}, "unknown key 'epoch'. Did you mean 'epochs'?"),
    (TrainConfig, {"epochs": "many"}, "epochs: input should be a valid integer"),
    (TrainConfig, {"lr": float("inf")}, "lr: input should be a finite number"),
    (TrainConfig, {"batch": 10, "accumulate": 4}, "batch 10 can't be cut into 4 equal micro-batches"),
    (PluginCard, {"schema": 1, "nam": "x"}, "unknown key 'nam' (and 5 more). Did you mean 'name'?"),
    (RegistryFile, {"suites": {"a": {"entrys": []}}}, "key 'suites.a.entrys' (and 4 more). Did you mean 'entries'?"),
    (RegistryFile, {"datasets": {"a": {"target": "x"}}}, "datasets.a.target: a target is 'module:Class', not 'x'"),
    (RegistryFile, {"datasets": {"../a": {"target": "x:Y"}}}, "a name is lower-case letters"),
    (RegistryFile, ["x"], "the file: input should be a valid dictionary"),
])
def test_validation_names_the_key_the_reason_and_the_nearest_name(model: type[BaseModel], data: object,
                                                                 problem: str) -> None:
    with pytest.raises(BadCard) as caught:
        validate(model, data, "card.yaml")
    assert caught.value.message.startswith("card.yaml: ")
    assert problem in caught.value.message


@given(st.binary(max_size=300) | st.text("{}[]:,-&*!?|>'\"%@`#\n \tab1.", max_size=80).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_data_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    message, found = "", {}
    try:
        found = load_yaml(path)
    except BadCard as error:
        message = error.message
    assert "\n" not in message
    assert all(isinstance(key, str) for key in found)
