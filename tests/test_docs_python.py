"""The page on Python does what it says: its blocks are run in order and print what stands below them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)


def test_every_block_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks, names = BLOCK.findall(PAGE.read_text(encoding="utf-8")), {"__name__": "page"}
    assert len(blocks) == PAGE.read_text(encoding="utf-8").count("```python") >= 7
    for code, expected in blocks:
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            exec(compile(code, str(PAGE), "exec"), names)
        assert told.getvalue() == expected, code
