"""``ssl-skel view``: what it writes, what it refuses, and in how many words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssl_skel.cli.main import cli

REPO = Path(__file__).resolve().parents[2]


def invoke(*words, code=0):
    done = CliRunner().invoke(cli, ["view", *map(str, words)])
    assert done.exit_code == code, done.output
    if code:
        assert "Traceback" not in done.output
        assert not isinstance(done.exception, Exception), done.exception
    return " ".join(done.output.split())


@pytest.mark.parametrize("name", ["cloud.png", "cloud.svg", "deep/er/clip.html"])
def test_cloud_prints_the_path_that_it_wrote(tmp_path, name):
    path = tmp_path / name
    assert invoke("cloud", "synthetic", "0", "--frames", 4, "--out", path) == f"wrote {path}"
    assert path.stat().st_size > 3000


def test_the_default_file_lies_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("sheet", "synthetic", "--clips", 1) == "wrote sheet-synthetic.png"
    assert (tmp_path / "sheet-synthetic.png").is_file()


@pytest.mark.parametrize(("words", "code", "message"), [
    (("cloud", "synthetic", "c01_s01_e0"), 2, "Did you mean 'c01_s01_e0"),
    (("cloud", "sintetic", "0"), 2, "Did you mean 'synthetic'"),
    (("cloud", "nw-ucla", "0"), 4, "nw-ucla is not prepared in"),
    (("cloud", "synthetic", "0", "--out", "x.gif"), 2, "written as .png, .svg, .html"),
    (("sheet", "synthetic", "--out", "x.html"), 2, "written as .png, .svg"),
    (("cloud", "synthetic", "0", "--preprocessing", "first-fram"), 2, "Did you mean 'first-frame'"),
    (("audit", "ntu60"), 4, "ntu60 is not prepared in"),
    (("curves", "--run", "nowhere"), 4, "nowhere holds no pretraining"),
    (("features", "simclr", "--run", "nowhere"), 4, "nowhere holds no pretraining"),
    (("robustness", "--records", "nowhere"), 4, "no record of the robustness protocol"),
])
def test_mistakes_are_one_line(tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_SKEL_DATA", str(tmp_path))
    assert message in invoke(*words, code=code)
    assert list(tmp_path.iterdir()) == []


def test_help_imports_neither_torch_nor_matplotlib():
    code = ("import sys\nfrom click.testing import CliRunner\nfrom ssl_skel.cli.main import cli\n"
            "for name in ('cloud', 'repaint', 'features', 'curves', 'robustness', 'audit', 'sheet'):\n"
            "    assert CliRunner().invoke(cli, ['view', name, '--help']).exit_code == 0\n"
            "print([name for name in ('torch', 'matplotlib', 'sklearn') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout.strip() == "[]"
