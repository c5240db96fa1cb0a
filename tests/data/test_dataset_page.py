"""docs/datasets.md says of each dataset what its card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssl_skel.data.catalog import dataset_names, get_card
from ssl_skel.data.families import NOTES
from ssl_skel.data.importers import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
REAL = [name for name in dataset_names() if not get_card(name).generate]


def section(dataset: str) -> str:
    found = re.search(rf"^## [^\n]*\(`{dataset}`\)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no section of {dataset}"
    return " ".join(found[1].split())


@pytest.mark.parametrize("dataset", REAL)
def test_splits_sizes_held_out_and_command(dataset):
    card, text = get_card(dataset), section(dataset)
    assert f"ssl-skel data prepare {dataset} --raw" in text
    assert all(f"`{group}`" in text for group in card.groups)
    if dataset != "uwa3d":
        assert all(f"`{name}`" in text for name in card.splits)
    for split in card.splits.values():
        assert all(f"{size:,}" in text for size in split.expected or ())
        assert "Held out: " in text
        if len(split.held_out) < 10 and dataset not in ("sbu", "pku-mmd-2"):
            assert ", ".join(map(str, split.held_out)).rpartition(", ")[2] in text.partition("Held out: ")[2]


def test_families_and_formats():
    assert all(f"| `{name}` |" in PAGE for name in (*NOTES, *FORMATS))


def test_every_dataset_is_in_the_table():
    table = PAGE.partition("## What all of them")[0]
    assert all(f"[`{name}`](#" in table for name in REAL)
    anchors = {re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
               for line in PAGE.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\(#([a-z0-9-]+)\)", table)) <= anchors
