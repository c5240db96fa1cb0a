"""The site builds without a warning, and needs no network to be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_builds_strictly_and_asks_the_network_for_nothing(tmp_path):
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    pytest.importorskip("furo", reason="the extra `docs` is not installed")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)],
                          capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//[^\"]+", text), page
        assert not re.findall(r"<link[^>]+href=\"(?:https?:)?//[^\"]+", text), page
    assert "ssl_skel.api.PretextTask" in (tmp_path / "api" / "contract.html").read_text(encoding="utf-8")
    for style in tmp_path.rglob("*.css"):
        assert not re.findall(r"url\((?:https?:)?//|@import", style.read_text(encoding="utf-8")), style
