"""A store that its dataset's code has left behind is told by everything that shows, checks or uses it."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.raw_ucla import write_folder
from ssl_skel.bench.plan import _warnings
from ssl_skel.cli.data import data
from ssl_skel.data.datasets.nw_ucla import CARD
from ssl_skel.data.describe import list_datasets, show_dataset
from ssl_skel.data.open import open_split
from ssl_skel.data.outdated import outdated
from ssl_skel.data.prepare import prepare
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.data.store import Store, content_digest
from ssl_skel.errors import BadData, DigestMismatch


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write_folder(tmp_path / "raw", 60)
    return prepare(CARD, tmp_path / "raw", tmp_path).store


def test_a_store_names_its_classes_and_its_digest_does_not_depend_on_them(store: Store) -> None:
    assert store.meta["classes"] == list(CARD.classes)
    assert content_digest({**store.meta, "classes": ["x"]}) == store.digest
    assert not outdated(store, CARD)


def test_a_raised_reader_version_is_told_everywhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    root = store.path.parent
    monkeypatch.setattr(NwUclaReader, "version", 2)
    told = "prepared by version 1 of the reader of nw-ucla, which is version 2 now"
    entry = next(entry for entry in list_datasets(root) if entry["name"] == "nw-ucla")
    assert entry["state"] == "outdated"
    assert told in entry["todo"]
    assert told in show_dataset("nw-ucla", root)["todo"]
    assert show_dataset("nw-ucla", root)["clips"] == 60
    view = open_split("nw-ucla", "v3", root, incomplete=True)
    assert any(told in line and "prepare it again" in line for line in _warnings(view))
    for command in ("verify", "list", "show"):
        words = [] if command == "list" else ["nw-ucla"]
        with pytest.raises(DigestMismatch, match=told) if command == "verify" else nullcontext():
            data.main([command, *words, "--data-root", str(root)], standalone_mode=False)


def test_prepare_says_that_the_reader_changed_and_not_the_files(store: Store,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    root = store.path.parent
    monkeypatch.setattr(NwUclaReader, "version", 2)
    with pytest.raises(BadData, match=r"version 2 now; the files are the same\. Give --force"):
        prepare(CARD, root / "raw", root)
    next((root / "raw").rglob("*.json")).unlink()
    with pytest.raises(BadData, match="prepared from other files"):
        prepare(CARD, root / "raw", root)
    assert not outdated(prepare(CARD, root / "raw", root, force=True).store, CARD)


@pytest.mark.parametrize(("classes", "told"), [
    ((*CARD.classes[:3], "stroll", *CARD.classes[4:]), "label 3 was class 'walk around' .* calls it 'stroll' now"),
    (CARD.classes[:-1], "prepared for 10 classes, nw-ucla has 9 now")])
def test_other_classes_are_told(store: Store, classes: tuple[str, ...], told: str) -> None:
    assert re.search(told, outdated(store, replace(CARD, classes=classes)))


@pytest.mark.parametrize("change", [{"classes": 3}, {"raw": []}, {"raw": {}}, {"origin": "generated"}])
def test_stores_that_say_less_are_left_alone(store: Store, change: dict[str, object],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of earlier versions, of imports, and damaged ones."""
    monkeypatch.setattr(NwUclaReader, "version", 1 if "classes" in change else 2)
    meta = {key: value for key, value in json.loads((store.path / "meta.json").read_text()).items() if key != "classes"}
    assert not outdated(replace(store, meta={**meta, **change}), CARD)


def test_a_reader_that_is_gone_is_not_what_makes_a_store_outdated(store: Store) -> None:
    assert not outdated(store, replace(CARD, reader="nowhere.at_all:Reader"))
