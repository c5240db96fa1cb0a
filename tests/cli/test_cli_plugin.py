"""``ssl-skel plugin`` for parts of every kind, ``--config``, and schemas for editors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from helpers.tiny import Workshop
from ssl_skel.cli.main import main
from ssl_skel.cli.schema import NAMES
from ssl_skel.registry import KINDS, bundled_root, discover
from ssl_skel.scaffold.names import Names
from ssl_skel.scaffold.write import Order, write_new

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Call]:
    """Call ``ssl-skel`` in this process, in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ssl-skel", *map(str, arguments)])
        discover.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    yield invoke
    discover.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_with_version_origin_and_state(call: Call, kind: str) -> None:
    code, out, _ = call("plugin", "list", "--kind", kind, "--json")
    assert code == 0
    for row in json.loads(out):
        assert row["state"] == "ok"
        assert row["origin"].startswith("ssl_skel (")
        assert row["brought"] == "ssl_skel"
        assert (row["version"] != "") == (kind in ("plugins", "backbones", "evaluators"))


def test_the_table_names_version_family_origin_and_state(call: Call, tmp_path: Path) -> None:
    folder = write_new(Order("plugin", Names("mine"), "masked"), tmp_path)
    out = call("plugin", "list", "--plugins", folder)[1]
    line = next(line for line in out.splitlines() if line.startswith("  mine "))
    assert line.split()[:5] == ["mine", "1", "masked", "--plugins", "ok"]
    assert all(name in out for name in ("name", "version", "family", "origin", "state", "summary"))
    assert f"from {folder}: mine" in out


@pytest.mark.parametrize(("arguments", "code", "problem"), [
    (["absent", "--kind", "backbone"], 2, "unknown backbone 'absent'"),
    (["knnn", "--kind", "evaluator"], 2, "Did you mean 'knn'?"),
    (["knn", "--kind", "evaluator", "--pin"], 2, "--pin and --backbone are for plugins, not for a evaluator"),
    (["mine", "--kind", "backbone"], 3, "backbone 'mine' breaks the contract"),
])
def test_checks_of_other_parts_end_with_their_codes(call: Call, tmp_path: Path, arguments: list[str], code: int,
                                                    problem: str) -> None:
    folder = write_new(Order("backbone", Names("mine")), tmp_path)
    text = (folder / "backbone.py").read_text()
    (folder / "backbone.py").write_text(text.replace("class Mine(Backbone)", "class Mine(nn.Module)"))
    found, out, err = call("plugin", "check", *arguments, "--plugins", folder)
    assert found == code
    assert problem in err
    assert ("failed    backbone_is_one: backbone:Mine is no Backbone" in out) == (code == 3)
    assert out.count("failed") == (code == 3)  # without a class nothing else is asked


def test_a_folder_in_the_environment_is_found_by_every_command(call: Call, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [write_new(Order(kind, Names(f"my-{kind}")), tmp_path) for kind in ("backbone", "dataset")]
    monkeypatch.setenv("SSL_SKEL_PLUGINS", ":".join(map(str, folders)))
    assert "my-backbone" in call("plugin", "list", "--kind", "backbones")[1]
    assert call("data", "show", "my-data", "--json")[0] == 2
    assert json.loads(call("data", "show", "my-dataset", "--json")[1])["name"] == "my-dataset"
    # Given twice, a folder is there once.
    assert "broken" not in call("plugin", "list", "--kind", "backbones", "--plugins", folders[0])[1]
    monkeypatch.setenv("SSL_SKEL_PLUGINS", str(tmp_path / "nowhere"))
    code, _, err = call("plugin", "list")
    assert code == 2
    assert f"{tmp_path / 'nowhere'}: no such folder" in err


def test_config_files_reach_the_plan(call: Call, tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    (tmp_path / "c.yaml").write_text("train: {epochs: 7, batch: 3}\nplugins: {tiny: {config: {scale: 4}}}\n")
    chosen = [arg for arg in shop.run_arguments if arg not in ("--out", str(shop.out))]
    plan = ("bench", "plan", *chosen, "-p", "tiny", "-d", "tiny/xsub", "-e", "knn", "--config", tmp_path / "c.yaml")
    cell = json.loads(call(*plan, "--json")[1])["pretrainings"][0]
    assert (cell["train"]["epochs"], cell["train"]["batch"], cell["config"]["scale"]) == (7, 3, 4)
    cell = json.loads(call(*plan, "--set", "train.epochs=8", "--json")[1])["pretrainings"][0]
    assert (cell["train"]["epochs"], cell["train"]["batch"]) == (8, 3)
    (tmp_path / "c.yaml").write_text("config: {scal: 4}\n")
    assert "config: unknown key 'scal'. Did you mean 'scale'?" in call(*plan)[1]


def test_a_plan_tells_what_it_will_cost(call: Call, tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    asked = ("-p", "tiny", "-d", "tiny/xsub", "-e", "knn")
    chosen = [arg for arg in shop.run_arguments if arg not in ("--out", str(shop.out))]
    plan = ("bench", "plan", *chosen, *asked, "--records", shop.out)
    assert f"from the records in {shop.out}: unknown for 2 of 2 cells\n" in call(*plan)[1]
    assert set(json.loads(call(*plan, "--json")[1])["estimated_s"].values()) == {None}
    assert call("bench", "run", *shop.run_arguments, *asked, "--executor", "inline")[0] == 0
    done = call(*plan)[1]
    assert "  cost      none\n" in done
    again = json.loads(call(*plan, "--set", "train.epochs=40", "--json")[1])
    longer = json.loads(call(*plan, "--set", "train.epochs=80", "--json")[1])
    first, twice = (found["estimated_s"][found["pretrainings"][0]["id"]] for found in (again, longer))
    assert twice == pytest.approx(2 * first)
    assert first > 0


# -- schemas ------------------------------------------------------------------------------------------------------


def test_every_schema_is_written_and_is_what_is_printed(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("schema", "--out", tmp_path)
    assert code == 0
    for name in NAMES:
        path = tmp_path / f"{name}.schema.json"
        assert f"wrote {path}" in out
        assert path.read_text() == call("schema", name)[1]
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))
    assert call("schema", "--out", tmp_path / "nowhere")[0] == 2


def test_the_schemas_take_what_is_shipped_and_refuse_a_slip(call: Call, tmp_path: Path) -> None:
    call("schema", "--out", tmp_path)

    def check(name: str, content: object) -> None:
        jsonschema.validate(content, json.loads((tmp_path / f"{name}.schema.json").read_text()))

    for card in (bundled_root() / "plugins").glob("*/plugin.yaml"):
        check("plugin", yaml.safe_load(card.read_text()))
    registry = yaml.safe_load((bundled_root() / "registry.yaml").read_text())
    check("registry", registry)
    check("suite", registry["suites"]["smoke"])
    check("settings", {"train": {"epochs": 2}, "plugins": {"simclr": {"config": {"temperature": 0.2}}}})
    for name, slip in (("plugin", {"nam": "x"}), ("suite", {"titel": "x"}), ("settings", {"trian": {}})):
        with pytest.raises(jsonschema.ValidationError):
            check(name, slip)
