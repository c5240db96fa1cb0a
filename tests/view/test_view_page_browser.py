"""The page of a clip in a real browser: keyboard, choices, phone width, no complaint and no request."""

from __future__ import annotations

import pytest

from helpers.chrome import Chrome, find_chrome
from ssl_skel.data.dataset import open_dataset
from ssl_skel.view.page import render_page
from ssl_skel.view.scene import load_batch, make_scene

pytestmark = [pytest.mark.browser, pytest.mark.skipif(find_chrome() is None, reason="no Chromium")]

PIXELS = "(() => { const c = document.getElementById('stage'); return c.toDataURL(); })()"
SETTLE = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    dataset = open_dataset("synthetic-2p")
    path = tmp_path_factory.mktemp("page") / "clip.html"
    path.write_text(render_page(make_scene("synthetic-2p", dataset, 0, load_batch(dataset, 0, frames=12))))
    return path


def test_the_page_is_used_by_keyboard_and_on_a_phone(page):
    with Chrome(1000, 800) as chrome:
        chrome.open(page)
        chrome.run(SETTLE)
        first = chrome.run(PIXELS)
        chrome.run("document.getElementById('stage').focus()")
        chrome.press("ArrowLeft", 37)
        chrome.run(SETTLE)
        turned = chrome.run(PIXELS)
        assert turned != first
        chrome.press("0", 48, "0")
        chrome.run(SETTLE)
        assert chrome.run(PIXELS) == first
        chrome.press(" ", 32, " ")
        assert chrome.run("document.getElementById('play').getAttribute('aria-pressed')") == "true"
        chrome.run("new Promise(done => setTimeout(done, 400))")
        chrome.press(" ", 32, " ")
        chrome.run(SETTLE)
        assert chrome.run("document.getElementById('now').textContent") != "1 of 12"
        chrome.run("document.querySelector('[value=person]').click()")
        assert "person 2" in chrome.run("document.getElementById('key').textContent")
        named = {node.get("name", {}).get("value") for node in chrome.accessibility()}
        assert {"Pause", "Play"} & named
        assert {"Frame", "whole cloud", "temporal, coarse"} <= named
        chrome.resize(380, 700)
        chrome.run(SETTLE)
        assert chrome.run("document.documentElement.scrollWidth") <= 380
        assert chrome.run("Math.min(...[...document.querySelectorAll('button, label')].map(e => e.offsetHeight))") >= 24
        assert chrome.complaints == []
        assert all(url.startswith("file://") for url in chrome.requests)
