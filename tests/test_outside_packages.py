"""Parts of every kind from packages that pip really installed: found, run to a board row, named in the records."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.documents import pytest_plugin
from helpers.tiny import environment
from ssl_skel.registry import KINDS
from ssl_skel.scaffold.names import Names
from ssl_skel.scaffold.write import KINDS as WRITTEN
from ssl_skel.scaffold.write import Order, write_new

pytest.importorskip("hatchling")
pytestmark = pytest.mark.timeout(1200)

MORE = """
[project]
name = "outside-more"
version = "2.5"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project.entry-points."ssl_skel.executors"]
out-executor = "outside_more:Mine"

[project.entry-points."ssl_skel.loggers"]
out-logger = "outside_more:Noted"
"""
CODE = '''
from ssl_skel.bench.executors.inline import InlineExecutor


class Mine(InlineExecutor):
    """Works as inline does, and says so."""

    def submit(self, unit):
        print("submitted", unit.kind)
        super().submit(unit)


class Noted:
    """Found by name."""
'''
LIST = """
import json
from ssl_skel.inspection import check_import
from ssl_skel.registry import KINDS, discover
print(json.dumps({e.kind: [check_import(e), e.origin, e.distribution, e.version] for kind in KINDS
                  for e in discover().entries(kind) if e.distribution}))
"""
IDS = """
import json
from pathlib import Path
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.registry import discover
catalogue, found = discover(), {}
for part, (name, net, protocol) in {
        "plugin": ("out-plugin", "stgcn", "knn"), "backbone": ("simclr", "out-backbone", "knn"),
        "evaluator": ("simclr", "stgcn", "out-evaluator"), "nothing": ("simclr", "stgcn", "knn")}.items():
    plan = plan_of(Asked(names=[name], backbones=[net], datasets=["synthetic/xsub"], evaluators=[protocol],
                         device="cpu"), catalogue, Path("data"))
    found[part] = [plan.evaluations[0].pretrain_id, plan.evaluations[0].id]
print(json.dumps(found))
"""


def install(site: Path, *projects: Path) -> None:
    """What a user's ``pip install`` does, into a folder of its own and without a network."""
    options = ("--target", site, "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--upgrade", *map(str, (*options, *projects))],
                   check=True)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of every kind that `plugin new` writes, and one by hand with an executor and a logger."""
    root = tmp_path_factory.mktemp("projects")
    found = {kind: write_new(Order(kind, Names(f"out-{kind}"), "decorrelation", package=True), root)
             for kind in WRITTEN}
    found["more"] = root / "more"
    (found["more"] / "outside_more").mkdir(parents=True)
    (found["more"] / "pyproject.toml").write_text(MORE)
    (found["more"] / "outside_more" / "__init__.py").write_text(CODE)
    return found


@pytest.fixture(scope="module")
def site(projects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages."""
    site = tmp_path_factory.mktemp("site")
    install(site, *projects.values())
    return site


@pytest.fixture(scope="module")
def call(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run Python in a process that sees the installed packages; returns what it printed."""
    work = tmp_path_factory.mktemp("work")

    def run(*arguments: str) -> str:
        env = environment()
        env["PYTHONPATH"] += os.pathsep + str(site)
        done = subprocess.run([sys.executable, *map(str, arguments)], cwd=work, env=env, text=True, timeout=900,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_an_entry_point_of_every_kind_is_found_and_loads(call: Callable[..., str]) -> None:
    found = json.loads(call("-c", LIST))
    assert set(found) == set(KINDS[:-1])
    for kind, (problem, origin, distribution, version) in found.items():
        dist = "outside-more 2.5" if kind in ("executors", "loggers") else f"ssl-skel-out-{kind[:-1]} 0.1.0"
        assert (problem, origin, distribution) == ("", dist, dist), kind
        assert version == (1 if kind in ("plugins", "backbones", "evaluators") else None)


def test_the_list_of_plugins_says_what_a_package_brings(call: Callable[..., str]) -> None:
    lines = call("-m", "ssl_skel", "plugin", "list").splitlines()
    line = next(line for line in lines if line.startswith("  out-plugin "))
    assert line.split()[:6] == ["out-plugin", "1", "decorrelation", "ssl-skel-out-plugin", "0.1.0", "ok"]


@pytest.mark.slow
def test_a_board_row_from_outside_parts_alone_and_what_its_record_says(call: Callable[..., str], site: Path,
                                                                      tmp_path: Path) -> None:
    example = "from ssl_skel_out_dataset.dataset import *; write_example(Path('raw'))"
    call("-c", example)
    call("-m", "ssl_skel", "data", "prepare", "out-dataset", "--raw", "raw", "--workers", "1")
    out = tmp_path / "out"
    said = call("-m", "ssl_skel", "bench", "run", "-p", "out-plugin", "-p", "random", "-b", "out-backbone", "-d",
                "out-dataset/xsub", "-e", "out-evaluator", "--executor", "out-executor", "--set", "train.epochs=2",
                "--set", "train.batch=16", "--set", "train.frames=12", "--device", "cpu", "--out", str(out))
    assert said.count("submitted pretrain") == 2
    assert "out-plugin" in (out / "boards" / "custom" / "board.md").read_text()
    record = json.loads(next((out / "records" / "out-dataset-xsub" / "out-plugin").glob("*.json")).read_text())
    for part in ("plugin", "backbone", "evaluator", "dataset"):
        assert record["versions"][f"{part}_distribution"] == f"ssl-skel-out-{part} 0.1.0"
    assert len(record["digests"]["plugin"]) == 64
    shown = json.loads(call("-m", "ssl_skel", "plugin", "show", "out-plugin", "--json"))
    assert record["digests"]["plugin"] == shown["digest"]
    floor = json.loads(next((out / "records" / "out-dataset-xsub" / "random").glob("*.json")).read_text())
    assert "plugin_distribution" not in floor["versions"]


@pytest.mark.slow
def test_the_tests_that_a_project_brings_pass(call: Callable[..., str], projects: dict[str, Path]) -> None:
    said = call("-m", "pytest", *pytest_plugin(), "-p", "no:cacheprovider", projects["evaluator"],
                projects["dataset"])
    assert " passed" in said
    assert "skipped" not in said


def test_two_versions_of_a_package_share_no_id(call: Callable[..., str], site: Path, projects: dict[str, Path]) -> None:
    """Last, as it installs later versions: of the code nothing changes, but the number of the release."""
    before = json.loads(call("-c", IDS))
    later = [projects[part] for part in ("plugin", "backbone", "evaluator")]
    for project in later:
        toml = project / "pyproject.toml"
        toml.write_text(toml.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
        for old in site.glob(f"{project.name.replace('-', '_')}-0.1.0.dist-info"):
            shutil.rmtree(old)
    install(site, *later)
    after = json.loads(call("-c", IDS))
    assert after["nothing"] == before["nothing"]
    assert after["evaluator"][0] == before["evaluator"][0] == before["nothing"][0]
    assert after["evaluator"][1] != before["evaluator"][1]
    for part in ("plugin", "backbone"):
        assert after[part][0] != before[part][0]
        assert after[part][1] != before[part][1]
