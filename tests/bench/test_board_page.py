"""The page in a real browser: sorting, filters, keyboard, phone, contrast, no complaint, no request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.chrome import Chrome, find_chrome
from helpers.records import fill, make_record
from ssl_skel.bench.board import write_boards

pytestmark = [pytest.mark.browser,
              pytest.mark.skipif(find_chrome() is None, reason="Chromium is not installed")]

EVIL = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = []
    for dataset, split in (("nw-ucla", "v3"), ("sbu", "fold-1")):
        for evaluator, shift in (("linear", 0.0), ("knn", -0.1)):
            for plugin, backbone, accuracy, hours in (("simclr", "stgcn", 0.6, 0.5), ("moco", "stgcn", 0.7, 0.9),
                                                      ("colorization", "dgcnn", 0.8, 2.5)):
                pairs += [make_record(accuracy + shift + 0.02 * seed, plugin=plugin, backbone=backbone, dataset=dataset,
                                      split=split, evaluator=evaluator, seed=seed, cost__pretrain_hours=hours,
                                      streams="temporal+spatial" if plugin == "colorization" else "encoder",
                                      fusion="concat" if plugin == "colorization" else "single")
                          for seed in (0, 1)]
            pairs += [make_record(0.3 + shift, plugin="random", backbone="stgcn", dataset=dataset, split=split,
                                  evaluator=evaluator, seed=seed, config__train__epochs=0) for seed in (0, 1)]
    pairs += [make_record(0.5, plugin="byol", label=EVIL, dataset="sbu", split="fold-1", seed=seed, env={"cpu": EVIL})
              for seed in (0, 1)]
    pairs += [make_record(0.4 + 0.1 * s + ratio / 4, plugin="masked", backbone="dgcnn", dataset="synthetic",
                          split="xsub", seed=seed, config__task={"strategy": strategy, "ratio": ratio})
              for s, strategy in enumerate(("random", "frame")) for ratio in (0.1, 0.4) for seed in (0, 1)]
    severities = {f"{name}/{place}/top1": 0.7 - 0.1 * place for name in ("noise", "view") for place in range(1, 6)}
    pairs += [make_record(0.7, plugin=plugin, backbone="stgcn", dataset="nw-ucla", split="v3", evaluator="robustness",
                          metrics={"top1": 0.7, "corrupted_top1": 0.4, **severities}, primary="corrupted_top1")
              for plugin in ("simclr", "moco", "random")]
    store = fill(tmp_path_factory.mktemp("page"), *pairs)
    for record in store.all():
        folder = store.root / "pretrain" / record.pretrain_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curves.jsonl").write_text("".join(f'{{"step": {s}, "loss": {9 / s}}}\n' for s in range(1, 40)))
    families = {"simclr": "contrastive", "moco": "contrastive", "colorization": "reference", "random": "floor"}
    return write_boards(store, families=families)[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with Chrome() as chrome:
        yield chrome


@pytest.fixture
def chrome(browser: Chrome, page: Path) -> Chrome:
    browser.complaints.clear()
    browser.requests.clear()
    browser.resize(1280, 900)
    browser.open(page)
    return browser


def visible_rows(chrome: Chrome, table: str = "#nw-ucla-v3-linear") -> list[str]:
    found = chrome.run(f"[...document.querySelectorAll('{table} tbody.entry')].filter(b => b.offsetParent !== null && "
                       "b.getBoundingClientRect().height > 0).map(b => b.querySelector('.name').textContent)")
    return list(found)


def click(chrome: Chrome, selector: str) -> None:
    chrome.run(f"document.querySelector({selector!r}).click()")


def heading(chrome: Chrome, text: str, table: str = "#nw-ucla-v3-linear") -> str:
    """Press a column's button; what the column then says of itself."""
    return str(chrome.run(
        f"(() => {{ const b = [...document.querySelectorAll('{table} button.sort')].find(b => "
        f"b.textContent.trim() === {text!r}); b.click(); return b.closest('th').getAttribute('aria-sort'); }})()"))


def test_the_page_loads_without_a_complaint_or_a_request(chrome: Chrome, page: Path) -> None:
    assert chrome.run("document.title") == "All records · ssl-skel"
    assert chrome.run("document.querySelectorAll('table.ranks').length") == 6
    assert chrome.complaints == []
    assert chrome.requests == [page.absolute().as_uri()]


def test_markup_of_a_plugin_runs_nowhere(chrome: Chrome) -> None:
    chrome.run("document.querySelectorAll('button.more').forEach(b => b.click())")
    chrome.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chrome.run("document.title") == "All records · ssl-skel"
    assert chrome.run("document.querySelectorAll('img').length") == 0
    assert EVIL in chrome.run("document.body.textContent")


def test_columns_sort_both_ways_and_say_so(chrome: Chrome) -> None:
    assert visible_rows(chrome) == ["colorization", "moco", "simclr", "random"]
    assert heading(chrome, "Training") == "descending"
    assert visible_rows(chrome) == ["colorization", "moco", "simclr", "random"]
    assert heading(chrome, "Training") == "ascending"
    assert visible_rows(chrome) == ["random", "simclr", "moco", "colorization"]
    assert heading(chrome, "Method") == "ascending"
    assert visible_rows(chrome) == ["colorization", "moco", "random", "simclr"]
    assert chrome.run("document.querySelectorAll('#nw-ucla-v3-linear th[aria-sort]').length") == 1
    assert "sorted by Method, ascending" in chrome.run("document.querySelector('#sorted').textContent")
    assert visible_rows(chrome, "#nw-ucla-v3-knn") == ["colorization", "moco", "simclr", "random"]
    assert heading(chrome, "vs random") == "descending"
    assert visible_rows(chrome)[-1] == "random"
    assert heading(chrome, "vs random") == "ascending"
    assert visible_rows(chrome)[-1] == "random", "a row without a value stays at the end"


def test_details_move_with_their_row(chrome: Chrome) -> None:
    click(chrome, "#nw-ucla-v3-linear button.more")
    opened = chrome.run("document.querySelector('#nw-ucla-v3-linear button.more').getAttribute('aria-expanded')")
    assert opened == "true"
    heading(chrome, "Method")
    heading(chrome, "Method")
    text = chrome.run("document.querySelector('#nw-ucla-v3-linear tr.detail:not([hidden])').parentNode.textContent")
    assert "colorization" in text
    assert "Seed 0: top-1 80.0" in text


def choose(chrome: Chrome, name: str, value: str) -> None:
    chrome.run(f"(() => {{ const s = document.querySelector('select[data-filter={name}]'); s.value = {value!r}; "
               "s.dispatchEvent(new Event('input', {bubbles: true})); })()")


def search(chrome: Chrome, text: str) -> None:
    chrome.run(f"(() => {{ const s = document.querySelector('#search'); s.value = {text!r}; "
               "s.dispatchEvent(new Event('input', {bubbles: true})); })()")


def sections(chrome: Chrome) -> list[str]:
    return list(chrome.run("[...document.querySelectorAll('section[data-dataset]')].filter(s => !s.hidden)"
                           ".map(s => s.id)"))


def shown(chrome: Chrome) -> str:
    return str(chrome.run("document.querySelector('#shown').textContent"))


def test_filters_and_search_narrow_the_rows_together(chrome: Chrome) -> None:
    assert shown(chrome) == "24 rows"
    choose(chrome, "dataset", "nw-ucla")
    assert sections(chrome) == ["nw-ucla-v3-linear", "nw-ucla-v3-knn", "nw-ucla-v3-robustness"]
    choose(chrome, "evaluator", "linear")
    choose(chrome, "family", "contrastive")
    assert visible_rows(chrome) == ["moco", "simclr"]
    search(chrome, "MoCo stgcn")
    assert visible_rows(chrome) == ["moco"]
    assert shown(chrome) == "1 of 24 rows"
    search(chrome, "nothing like it")
    assert sections(chrome) == []
    assert not chrome.run("document.querySelector('#none').hidden")
    click(chrome, "button[type=reset]")
    chrome.run("new Promise(done => setTimeout(done, 50))")
    assert shown(chrome) == "24 rows"
    choose(chrome, "backbone", "dgcnn")
    assert visible_rows(chrome) == ["colorization"]
    choose(chrome, "split", "fold-1")
    assert sections(chrome) == ["sbu-fold-1-linear", "sbu-fold-1-knn"]


def test_the_keyboard_reaches_everything(chrome: Chrome) -> None:
    chrome.press("/", text="/")
    assert chrome.run("document.activeElement.id") == "search"
    chrome.run("document.querySelector('#nw-ucla-v3-linear button.sort').focus()")
    chrome.press("Enter", 13, "\r")
    assert chrome.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    assert visible_rows(chrome)[0] == "random"
    chrome.run("document.querySelector('#nw-ucla-v3-linear button.more').focus()")
    chrome.press(" ", 32, " ")
    assert chrome.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    wide = chrome.run("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0)")
    assert wide, "what scrolls can be focused"


def test_a_screen_reader_gets_names_and_roles(chrome: Chrome) -> None:
    nodes = chrome.accessibility()

    def named(role: str) -> list[str]:
        return [node.get("name", {}).get("value", "") for node in nodes
                if node.get("role", {}).get("value") == role and not node.get("ignored")]

    assert any(name.startswith("nw-ucla v3, linear") for name in named("table"))
    assert "Rank" in " ".join(named("columnheader"))
    assert any("colorization" in name for name in named("rowheader"))
    pictures = named("image") + named("img")
    assert any(re.search(r"82\.1 %|\d+\.\d %, interval", name) for name in pictures)
    assert all(pictures), "every picture has a name"
    assert all(named("button"))
    assert all(named("combobox"))


CONTRAST = """
(() => {
  const light = (c) => { const v = c.map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, under) => { const a = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map(i => a * top[i] + (1 - a) * under[i]); };
  const ground = (element) => { const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => top.length ? over(top, under) : under, [255, 255, 255]); };
  const bad = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.closest('svg, .sr, .skip') || !element.getBoundingClientRect().height) continue;
    const style = getComputedStyle(element), back = ground(element);
    const one = light(over(parse(style.color), back)), two = light(back);
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
    if (ratio < 4.5) bad.push([element.className, element.textContent.slice(0, 20), ratio.toFixed(2)]);
  }
  for (const element of document.querySelectorAll('svg text')) {
    const style = getComputedStyle(element), cell = element.closest('g')?.querySelector('.heat-cell');
    let back = ground(element.closest('svg'));
    if (cell) back = over([...parse(getComputedStyle(cell).fill), Number(cell.getAttribute('fill-opacity'))], back);
    const one = light(parse(style.fill)), two = light(back);
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
    if (ratio < 4.5) bad.push(['svg ' + element.getAttribute('class'), element.textContent, ratio.toFixed(2)]);
  }
  return bad;
})()
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_in_both_themes(chrome: Chrome, theme: str) -> None:
    chrome.run(f"document.documentElement.dataset.theme = '{theme}'")
    chrome.run("document.querySelectorAll('button.more').forEach(b => b.click())")
    chrome.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chrome.run("document.querySelectorAll('.heat-cell').length") == 4
    assert chrome.run(CONTRAST) == []


def test_the_theme_button_goes_round(chrome: Chrome) -> None:
    seen = []
    for _ in range(3):
        click(chrome, "#theme")
        seen.append((chrome.run("document.querySelector('#theme span').textContent"),
                     chrome.run("getComputedStyle(document.body).backgroundColor")))
    words = [name for name, _ in seen]
    assert sorted(words) == ["auto", "dark", "light"]
    assert len({colour for _, colour in seen}) == 2


@pytest.mark.parametrize("width", [320, 400, 768, 1024, 1280, 1600])
def test_no_width_makes_the_page_scroll_sideways(chrome: Chrome, width: int) -> None:
    chrome.resize(width, 800)
    chrome.run("document.querySelectorAll('button.more').forEach(b => b.click())")
    chrome.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chrome.run("document.documentElement.scrollWidth") <= width


def test_a_phone_shows_rank_method_score_and_interval(chrome: Chrome, tmp_path: Path) -> None:
    chrome.resize(400, 800)
    box: dict[str, Any] = chrome.run(
        "(() => { const r = document.querySelector('#nw-ucla-v3-linear tbody.entry tr'); const see = s => { const b = "
        "r.querySelector(s).getBoundingClientRect(); return b.width > 0 && b.left >= 0 && b.right <= 400; }; return "
        "{rank: see('.c-rank'), method: see('.c-method'), score: see('.c-score'), strip: see('.c-strip svg'), "
        "streams: r.querySelector('.second').innerText}; })()")
    assert box == {"rank": True, "method": True, "score": True, "strip": True,
                   "streams": "dgcnn · temporal+\u200bspatial, concat · 2 seeds"}
    assert heading(chrome, "top-1") == "descending", "the headings are still there to sort by"
    chrome.screenshot(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").stat().st_size > 10_000


PAGES = ("plugin-colorization", "plugin-simclr", "plugin-random", "dataset-nw-ucla", "dataset-sbu", "cell")


@pytest.fixture(params=PAGES)
def beside(request: pytest.FixtureRequest, chrome: Chrome, page: Path) -> Path:
    """One page of each kind, opened."""
    path = next(iter(sorted((page.parent / "pages").glob(f"{request.param}*.html"))))
    chrome.complaints.clear()
    chrome.requests.clear()
    chrome.open(path)
    return path


def test_pages_beside_load_without_a_complaint_from_their_folder_only(chrome: Chrome, beside: Path) -> None:
    assert chrome.complaints == []
    names = {request.rsplit("/", 1)[1] for request in chrome.requests}
    assert names == {beside.name, "style.css", "script.js"}
    assert all(request.startswith(beside.parent.absolute().as_uri()) for request in chrome.requests)
    assert chrome.run("getComputedStyle(document.querySelector('.bar')).position") == "sticky", "the style is there"
    assert not chrome.run("document.querySelector('#theme').hidden"), "the script has run"


def test_pages_beside_fit_every_width_and_stand_out(chrome: Chrome, beside: Path) -> None:
    chrome.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    for width in (320, 390, 768, 1280):
        chrome.resize(width, 800)
        assert chrome.run("document.documentElement.scrollWidth") <= width
    for theme in ("light", "dark"):
        chrome.run(f"document.documentElement.dataset.theme = '{theme}'")
        assert chrome.run(CONTRAST) == []


def test_a_link_leads_to_the_method_its_record_and_back(chrome: Chrome) -> None:
    def follow(selector: str, title: str) -> None:
        click(chrome, selector)
        for _ in range(100):
            # in one go: between two, the page may change
            state, found = chrome.run("[document.readyState, document.title]")
            if state == "complete" and title in found:
                return
            chrome.run("new Promise(done => setTimeout(done, 30))")
        raise AssertionError(chrome.run("document.title"))

    follow("#nw-ucla-v3-linear a.name", "colorization · ssl-skel")
    follow("#results .seeds a", "colorization on")
    assert "ssl-skel bench run" in chrome.run("document.querySelector('#commands').textContent")
    follow("nav a", "All records")
    assert chrome.complaints == []


def test_tables_of_pages_sort_and_curves_are_told_apart_without_colour(chrome: Chrome, page: Path) -> None:
    chrome.open(page.parent / "pages/plugin-simclr.html")
    rows = "[...document.querySelectorAll('#classes-1 tbody th')].map(t => t.textContent)"
    before = chrome.run(rows)
    chrome.run("document.querySelectorAll('#classes-1 button.sort')[0].click()")
    chrome.run("document.querySelectorAll('#classes-1 button.sort')[0].click()")
    assert chrome.run(rows) == sorted(before, reverse=True)
    chrome.open(page)
    dashes = chrome.run("[...document.querySelectorAll('#nw-ucla-v3-robustness .key .stroke')].map(p => "
                        "getComputedStyle(p).strokeDasharray)")
    assert len(dashes) == len(set(dashes)) == 3


def test_long_tables_are_folded_until_they_are_asked_for_or_filtered(chrome: Chrome, tmp_path: Path) -> None:
    pairs = [make_record(0.3 + place / 50, plugin=f"m-{place}", n=50) for place in range(25)]
    chrome.open(write_boards(fill(tmp_path, *pairs), pages=False)[0])
    assert len(visible_rows(chrome)) == 15
    search(chrome, "m-1")
    assert len(visible_rows(chrome)) == 11
    search(chrome, "")
    heading(chrome, "top-1")
    heading(chrome, "top-1")
    assert visible_rows(chrome)[0] == "m-0", "the first of the order shown, not of the ranks"
    assert len(visible_rows(chrome)) == 15
    click(chrome, "button.unfold")
    assert len(visible_rows(chrome)) == 25
