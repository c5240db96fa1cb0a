"""The page in a real browser where a board is small or empty, and where filters meet what is not a table of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.chrome import Chrome, find_chrome
from helpers.records import fill, make_record
from ssl_skel.bench.board import write_boards
from ssl_skel.bench.store import RecordStore

pytestmark = [pytest.mark.browser,
              pytest.mark.skipif(find_chrome() is None, reason="Chromium is not installed")]

LONG = "a very long name of a method that goes on"

CUT = """
[...document.querySelectorAll('main svg:not(.strip) text')].filter(text => {
  const box = text.getBoundingClientRect(), frame = text.ownerSVGElement.getBoundingClientRect();
  return box.width > 0 && (box.left < frame.left - 1 || box.right > frame.right + 1);
}).map(text => text.textContent)
"""
"""Words of pictures that leave the picture."""

SKIPPED = """
[...document.querySelectorAll('h1, h2, h3, h4, h5')].map(h => Number(h.tagName[1]))
  .filter((level, place, all) => place && level > all[place - 1] + 1)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with Chrome() as chrome:
        yield chrome


@pytest.fixture
def chrome(browser: Chrome) -> Chrome:
    browser.resize(1280, 900)
    return browser


def plan(store: RecordStore) -> None:
    """Wait for one more seed of every record."""
    cells = [{"id": r.id, "pretrain_id": r.pretrain_id, "cell": r.cell.model_dump()}
             for record in store.all() for r in (record, make_record(0.5, plugin=record.cell.plugin, seed=7)[0])]
    (store.root / "plan.json").write_text(json.dumps(
        {"schema": 1, "suite": "made-up", "title": "Made up", "baseline": "random", "pretrainings": [],
         "cells": cells}))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three test sets under one protocol, one of them under a second; an ablation of long keys."""
    pairs = []
    for dataset, split, evaluator in (("nw-ucla", "v3", "linear"), ("nw-ucla", "v3", "knn"), ("sbu", "fold1", "linear"),
                                      ("sbu", "fold2", "linear")):
        for place, plugin in enumerate(("simclr", "moco", "byol")):
            if plugin != "byol" or dataset == "nw-ucla":
                pairs.append(make_record(0.5 + place / 10, plugin=plugin, label=LONG if plugin == "moco" else "",
                                         dataset=dataset, split=split, evaluator=evaluator,
                                         cost__pretrain_hours=1.0 + place))
        pairs.append(make_record(0.71, plugin="random", dataset=dataset, split=split, evaluator=evaluator,
                                 config__train__epochs=0))
    pairs += [make_record(0.4 + s + ratio / 4, plugin="masked", dataset="synthetic", split="xsub",
                          config__task={"strategy_of_masking": 10 * s, "a_long_name_of_a_ratio_of_joints": ratio})
              for s in (0.0, 0.1) for ratio in (0.1, 0.4)]
    store = fill(tmp_path_factory.mktemp("page"), *pairs)
    for record in store.all():
        folder = store.root / "pretrain" / record.pretrain_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curves.jsonl").write_text("".join(
            f'{{"step": {s}, "loss": {-0.00125 - s / 1e5}}}\n' for s in range(1, 40)))
    return write_boards(store)[0]


def choose(chrome: Chrome, name: str, value: str) -> None:
    chrome.run(f"(() => {{ const s = document.querySelector('select[data-filter={name}]'); s.value = {value!r}; "
               "s.dispatchEvent(new Event('input', {bubbles: true})); })()")


def columns(chrome: Chrome) -> list[str]:
    return list(chrome.run("[...document.querySelectorAll('#overview thead th:not([hidden]) a')]"
                           ".map(a => a.textContent + ' ' + a.closest('th').dataset.evaluator)"))


def overview_rows(chrome: Chrome) -> list[str]:
    return sorted(chrome.run("[...document.querySelectorAll('#overview tbody.entry:not([hidden]) .name')]"
                             ".map(name => name.textContent)"))


def test_a_board_without_a_complete_row_says_that_and_not_that_a_filter_is_set(chrome: Chrome, tmp_path: Path) -> None:
    store = fill(tmp_path, make_record(0.5), make_record(0.3, plugin="random"))
    plan(store)
    chrome.open(write_boards(store, "made-up")[0])
    seen = chrome.run("document.body.innerText")
    assert "This board has no complete row yet." in seen
    assert "2 incomplete rows are not shown; --incomplete shows them." in seen
    assert "No row fits" not in seen
    assert chrome.run("document.querySelector('#shown').textContent") == "0 rows"
    chrome.run("(() => { const s = document.querySelector('#search'); s.value = 'x'; "
               "s.dispatchEvent(new Event('input', {bubbles: true})); })()")
    assert "No row fits these filters." in chrome.run("document.body.innerText")


def test_one_row_is_one_row(chrome: Chrome, tmp_path: Path) -> None:
    chrome.open(write_boards(fill(tmp_path, make_record(0.5)), pages=False)[0])
    assert chrome.run("document.querySelector('#shown').textContent") == "1 row"


def test_filters_choose_columns_and_rows_of_the_overview(chrome: Chrome, page: Path) -> None:
    chrome.open(page)
    everything = columns(chrome)
    assert everything[:4] == ["nw-ucla v3 linear", "nw-ucla v3 knn", "sbu fold1 linear", "sbu fold2 linear"]
    assert set(overview_rows(chrome)) == {"byol", "masked", "moco", "random", "simclr"}
    choose(chrome, "dataset", "sbu")
    assert columns(chrome) == ["sbu fold1 linear", "sbu fold2 linear"]
    assert overview_rows(chrome) == ["moco", "random", "simclr"], "what has no value here is not shown"
    choose(chrome, "evaluator", "knn")
    assert chrome.run("document.querySelector('#overview').hidden")
    assert chrome.run("document.querySelector('#ranks').hidden"), "there is a plot of linear only"
    choose(chrome, "dataset", "")
    assert columns(chrome) == ["nw-ucla v3 knn"]
    choose(chrome, "evaluator", "")
    assert columns(chrome) == everything
    assert not chrome.run("document.querySelector('#ranks').hidden")


def test_one_overview_can_not_be_folded_away(chrome: Chrome, page: Path) -> None:
    chrome.open(page)
    assert chrome.run("document.querySelectorAll('#overview table').length") == 1
    assert chrome.run("document.querySelectorAll('#overview summary').length") == 0
    names = [node["name"]["value"] for node in chrome.accessibility()
             if node.get("role", {}).get("value") == "region" and not node.get("ignored")]
    assert "Overview" in names


def test_no_word_of_a_picture_is_cut_and_headings_skip_no_level(chrome: Chrome, page: Path) -> None:
    chrome.open(page)
    assert chrome.run("document.querySelectorAll('.heat-cell').length") == 4
    caption = chrome.run("document.querySelector('.heat figcaption').textContent")
    assert "strategy_of_masking" in caption
    assert "framed: the best" in caption
    for path in (page, *sorted((page.parent / "pages").glob("plugin-*.html"))[:3]):
        chrome.open(path)
        chrome.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (1280, 390):
            chrome.resize(width, 800)
            assert chrome.run(CUT) == []
        assert chrome.run(SKIPPED) == []
