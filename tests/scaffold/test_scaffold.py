"""`plugin new`: what it writes works and keeps the contract; what it can't write it refuses, and touches nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from ssl_skel.check import checks_of, run_check, run_checks
from ssl_skel.cli.plugin import plugin
from ssl_skel.contract.subject import Subject
from ssl_skel.contract.training import features_do_not_collapse, loss_falls
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.errors import UsageMistake
from ssl_skel.registry import Catalogue, discover
from ssl_skel.scaffold.names import new_name
from ssl_skel.scaffold.write import KINDS, Order, families, write_new
from ssl_skel.schema import NAME

RULES = """
line-length = 120
[lint]
select = ["E", "F", "W", "I", "B", "UP", "RUF", "PTH"]
[lint.isort]
known-first-party = ["ssl_skel"]
"""
New = Callable[..., Result]


@pytest.fixture
def new(tmp_path: Path) -> Iterator[New]:
    """Call ``plugin new ... --dir tmp_path``."""
    discover.cache_clear()
    yield lambda *arguments: CliRunner().invoke(plugin, ["new", *arguments, "--dir", str(tmp_path)])
    discover.cache_clear()


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class FewLayouts(Subject):
    """Two of the nine layouts that a check tries; the tutorial's test tries all."""

    def layouts(self) -> list[Layout]:
        return [get_layout("nite_15", 1), get_layout("kinect_v2_25", 2)]


def subject(kind: str, name: str, *paths: Path) -> Subject:
    discover.cache_clear()
    catalogue = discover(tuple(map(str, paths)))
    return FewLayouts(catalogue.get(kind, name), catalogue)


# -- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", families())
def test_a_new_method_of_every_family_keeps_the_contract_and_learns(new: New, tmp_path: Path, family: str) -> None:
    result = new("my-method", "--family", family)
    assert result.exit_code == 0, result.output
    assert set(written(tmp_path)) == {f"my-method/{name}" for name in ("plugin.yaml", "plugin.py", "README.md")}
    lines = (tmp_path / "my-method" / "plugin.py").read_text().count("\n")
    assert 50 < lines <= 150
    found = subject("plugins", "my-method", tmp_path / "my-method")
    assert found.card.family == family
    for check in (*checks_of("api"), loss_falls, features_do_not_collapse):
        outcome = run_check(check, found)
        assert outcome.state == "passed", outcome


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_new_part_keeps_its_contract(new: New, tmp_path: Path, kind: str) -> None:
    assert new(f"my-{kind}", "--kind", kind).exit_code == 0
    assert set(written(tmp_path)) == {f"my-{kind}/{name}" for name in ("registry.yaml", f"{kind}.py", "README.md")}
    outcomes = list(run_checks(subject(f"{kind}s", f"my-{kind}", tmp_path / f"my-{kind}"), "train"))
    assert not [o for o in outcomes if o.state == "failed"], outcomes
    assert [o.check for o in outcomes if o.state == "skipped"] == (
        ["splits_keep_apart", "labels_are_classes", "clips_can_be_loaded"] if kind == "dataset" else [])


def test_everything_that_is_written_pleases_the_linter(tmp_path: Path) -> None:
    for kind in KINDS:
        for family in families() if kind == "plugin" else ("",):
            for package in (False, True):
                names = new_name(f"the-{family or kind}", kind, Catalogue())
                write_new(Order(kind, names, family or "contrastive", package), tmp_path)
    (tmp_path / "ruff.toml").write_text(RULES)
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=tmp_path, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or (path.read_text().endswith("\n") and "{{" not in path.read_text()), path


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "problem"), [
    (["../evil"], "'../evil' is no name"), (["a/b"], "is no name"), (["/tmp/x"], "is no name"), (["."], "is no name"),
    (["My-Method"], "For example 'my-method'"), (["my_method"], "For example 'my-method'"),
    (["MyMethod"], "For example 'my-method'"), (["3d-net"], "For example 'd-net'"), ([""], "is no name"),
    (["a--b"], "For example 'a-b'"), (["naïve"], "is no name"), (["x" * 41], "at most 40 characters"),
    (["class"], "is a word of Python"), (["simclr"], "the plugin name 'simclr' is taken by ssl_skel"),
    (["stgcn", "--kind", "backbone"], "is taken by ssl_skel"), (["nw-ucla", "--kind", "dataset"], "is taken"),
    (["fine", "--family", "contrastiv"], "Did you mean 'contrastive'?"),
    (["fine", "--kind", "backbone", "--family", "masked"], "--family is for plugins, not for a backbone"),
    (["fine", "--kind", "executor"], "is not one of"),
])
def test_a_mistake_is_told_and_nothing_is_written(new: New, tmp_path: Path, arguments: list[str],
                                                  problem: str) -> None:
    result = new(*arguments)
    assert result.exit_code == 2
    assert problem in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_a_name_that_another_kind_has_is_free(new: New) -> None:
    assert new("simclr", "--kind", "backbone").exit_code == 0


def test_a_name_that_a_broken_plugin_claims_is_taken(new: New, tmp_path: Path) -> None:
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "plugin.yaml").write_text("[")
    result = new("torn", "--plugins", str(tmp_path / "torn"), "--package")
    assert result.exit_code == 2
    assert f"taken by {tmp_path / 'torn'}" in result.output


@pytest.mark.parametrize("there", ["folder", "file", "link", "empty"])
@pytest.mark.parametrize("package", [[], ["--package"]])
def test_what_exists_is_left_alone(new: New, tmp_path: Path, there: str, package: list[str]) -> None:
    target = tmp_path / ("ssl-skel-mine" if package else "mine")
    if there in ("folder", "empty"):
        target.mkdir()
        if there == "folder":
            (target / "plugin.py").write_text("mine")
    elif there == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = written(tmp_path)
    result = new("mine", *package)
    assert result.exit_code == 2
    assert f"{target} exists; nothing was written" in result.output
    assert written(tmp_path) == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(plugin, ["new", "mine", "--dir", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "Make it, or choose another with --dir" in result.output
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = Path.write_text, 0

    def write_text(path: Path, text: str, **how: str) -> int:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        return real(path, text, **how)

    monkeypatch.setattr(Path, "write_text", write_text)
    result = CliRunner().invoke(plugin, ["new", "mine", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "the disk is full" in result.output
    assert not list(tmp_path.iterdir())


@given(st.text(max_size=50) | st.from_regex(r"[a-zA-Z0-9_./-]{1,45}", fullmatch=True))
def test_every_name_that_is_taken_up_is_one_and_no_path(text: str) -> None:
    try:
        names = new_name(text, "plugin", Catalogue())
    except UsageMistake:
        return
    assert NAME.match(names.name)
    assert names.cls.isidentifier()
    assert names.module.isidentifier()
    assert Path(names.name).name == names.name
