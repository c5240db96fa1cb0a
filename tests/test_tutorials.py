"""Every command of the tutorials is typed, and prints what the page says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.documents import Block, Reader, agrees, blocks, commands
from helpers.raw_ucla import real_data
from helpers.tiny import REPO
from ssl_skel.registry import discover

PAGES = sorted((REPO / "docs" / "tutorials").glob("add-*.md"))
SYNTHETIC = {"nw-ucla/v3": "synthetic/xsub", "nw-ucla v3": "synthetic xsub"}


def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> Reader:
    """Somebody in an empty folder, whose installations stay there."""
    found = Reader(tmp_path, **options)  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}:{found.site}")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("SSL_SKEL_DATA", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path, str(found.site)])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_says_what_happens(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On synthetic data, which needs nothing; the commands are the same."""
    try:
        reader(tmp_path, monkeypatch, instead=SYNTHETIC, absent=frozenset({"nw-ucla"})).follow(page)
    finally:
        discover.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.real_data
def test_a_method_gets_to_the_board_of_nw_ucla(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = str(real_data("nw-ucla"))
    try:
        reader(tmp_path, monkeypatch, instead={"~/downloads/nw-ucla": raw}).follow(
            REPO / "docs" / "tutorials" / "add-a-method.md")
    finally:
        discover.cache_clear()


def test_there_is_a_tutorial_for_every_part() -> None:
    assert [page.stem for page in PAGES] == ["add-a-backbone", "add-a-dataset", "add-a-method", "add-a-protocol"]
    for page in PAGES:
        shown = [shown for block in blocks(page) if block.language == "console"
                 for _, shown in commands(block.text)]
        assert sum(bool(text) for text in shown) >= 3, f"{page.name} shows hardly any output"


# -- the reader itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shown", "printed", "same"), [
    ("a\nb", "a\nb\n", True), ("a\nb", "a\nc\n", False), ("a\nb", "a\n", False), ("a", "a\nb\n", False),
    ("a ... c", "a b c\n", True), ("a ... c", "a b d\n", False), ("a\n...\nc", "a\n1\n2\nc\n", True),
    ("a\n...\nc", "a\nc\n", True), ("a\n...\nc", "a\n1\n2\n", False), ("...", "x\ny\n", True), ("a", "a   \n", True),
    ("1.5 s (x)", "1x5 s (x)\n", False)])
def test_outputs_are_compared_up_to_ellipses(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown, printed) is same


def test_blocks_and_commands_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n<!-- file: a.txt -->\n```yaml\nx: 1\n```\n\n```console\n$ one \\\n    two\nout\n\nmore\n"
                    "$ three\n```\n")
    assert blocks(page)[0] == Block("yaml", "x: 1\n", "file", "a.txt")
    assert list(commands(blocks(page)[1].text)) == [("one two", "out\n\nmore"), ("three", "")]


@pytest.mark.parametrize(("text", "problem"), [
    ("```console\n$ echo a\nb\n```\n", "expected"), ("```console\n$ false\n```\n", "exit code 1"),
    ("```console\n$ echo error: x\nerror: x\n```\n", "exit code 0"),
    ("<!-- in: p.md -->\n```python\nnot there\n```\n", "not in p.md"),
    ("```console\n$ ssl-skel plugin show nothing\n```\n", "exit code 2")])
def test_a_page_that_lies_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    (tmp_path / "p.md").write_text("nothing")
    with pytest.raises(AssertionError, match=problem):
        reader(tmp_path, monkeypatch, instead={}).follow(page)
