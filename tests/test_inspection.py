"""`plugin list` shows code that can't be imported as broken, without importing any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssl_skel.cli.plugin import list_

CARD = """
schema: 1
name: made
version: 1
family: other
summary: a plugin made by a test
backbones: {default: stgcn}
"""


def listed(folder: Path, *options: str) -> dict[str, str]:
    result = CliRunner().invoke(list_, ["--json", "--plugins", str(folder), *options])
    assert result.exit_code == 0, result.output
    return {row["name"]: row["error"] for row in json.loads(result.output)}


@pytest.mark.parametrize(("code", "reason"), [
    ("import surely_not_there\nclass Plugin: pass", "'surely_not_there', which is not installed"),
    ("def f(:", "line 1"), ("x = 1", "defines no 'Plugin'")])
def test_broken_code_is_shown_with_its_reason_and_harms_nothing_else(tmp_path: Path, code: str, reason: str) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(CARD)
    (folder / "plugin.py").write_text(code)
    errors = listed(folder)
    assert reason in errors["made"]
    assert not errors["simclr"]


def test_what_fails_only_when_it_runs_is_found_by_importing(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(CARD)
    (folder / "plugin.py").write_text("class Plugin: pass\n1 / 0")
    assert not listed(folder)["made"]
    assert "ZeroDivisionError" in listed(folder, "--import")["made"]


def test_good_plugins_are_not_accused() -> None:
    result = CliRunner().invoke(list_, ["--json"])
    assert not [row for row in json.loads(result.output) if row["error"]]
