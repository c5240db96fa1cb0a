"""The command line: one clear line and the designed exit code for every mistake, and output that programs can read."""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from helpers.tiny import Workshop, results
from ssl_skel.cli.main import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call ``ssl-skel`` in this process; returns exit code, stdout and stderr."""

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ssl-skel", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return invoke


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    from ssl_skel.registry import discover

    discover.cache_clear()
    monkeypatch.chdir(tmp_path)
    return Workshop(tmp_path)


def run_arguments(shop: Workshop, *arguments: str) -> list[str]:
    return ["bench", "run", *shop.run_arguments, "--executor", "inline", *arguments]


GOOD = ("-p", "tiny", "-d", "tiny/xsub", "-e", "knn")


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "code", "problem"), [
    (["--suite", "smok"], 2, "unknown suite 'smok'. Did you mean 'smoke'?"),
    (["-p", "tni", "-d", "tiny"], 2, "unknown plugin 'tni'. Did you mean 'tiny'?"),
    (["-p", "tiny", "-d", "tny"], 2, "unknown dataset 'tny'. Did you mean 'tiny'?"),
    (["-p", "tiny", "-d", "tiny/xsup"], 2, "unknown split of tiny 'xsup'. Did you mean 'xsub'?"),
    (["-p", "tiny", "-d", "tiny", "-e", "linea"], 2, "unknown evaluator 'linea'. Did you mean 'linear'?"),
    (["-p", "tiny", "-d", "tiny", "-b", "tinny"], 2, "unknown backbone 'tinny'. Did you mean 'tiny'?"),
    ([*GOOD, "--set", "scal=2"], 2, "unknown key 'scal'. Did you mean 'scale'?"),
    ([*GOOD, "--set", "scale=big"], 2, "scale: input should be a valid number"),
    ([*GOOD, "--set", "train.epochs=few"], 2, "epochs: input should be a valid integer"),
    ([*GOOD, "--set", "train.epochs"], 2, "is not KEY=VALUE"),
    ([*GOOD, "--set", "scale=[1"], 2, "--set"),
    ([*GOOD, "--set", "train.optimizer=adan-w"], 2, "unknown optimiser 'adan-w'. Did you mean 'adanw'?"),
    ([*GOOD, "--set", "train.batch=1000"], 2, "larger than the 27 training clips"),
    ([*GOOD, "--device", "cuda:77"], 2, "CUDA devices"),
    ([*GOOD, "--device", "tpu"], 2, "--device 'tpu' is no device"),
    ([*GOOD, "--executor", "proces"], 2, "unknown executor 'proces'. Did you mean 'process'?"),
    ([*GOOD, "--plugins", "nowhere"], 2, "nowhere: no such folder"),
    (["-p", "tiny", "-d", "absent/xsub"], 4, "absent"),
    ([], 2, "nothing to run"),
])
def test_a_mistake_is_one_line_and_an_exit_code(shop: Workshop, call: Call, arguments: list[str], code: int,
                                                problem: str) -> None:
    found, out, err = call(*run_arguments(shop, *arguments))
    assert found == code
    assert problem in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not out
    assert not shop.out.exists()  # nothing was written


@pytest.mark.parametrize("arguments", [
    ["bench", "rum"], ["bench", "run", "--jobs", "0"], ["bench", "run", "--rerun", "some"], ["bench", "run", "-s", "x"],
    ["bench", "run", "--timeout", "-1"], ["bench", "run", "--no-such-option"], ["plugin", "show"], ["nothing"],
    ["schema", "cards"], ["bench", "speed", "everything"], ["bench", "run", "--precision", "fp8"]])
def test_wrong_usage_is_told_by_click(shop: Workshop, call: Call, arguments: list[str]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "rror: " in err
    assert "Traceback" not in err


def test_an_unknown_command_suggests_the_nearest(call: Call) -> None:
    assert "Did you mean 'bench'?" in call("benhc")[2]
    assert "Did you mean 'status'?" in call("bench", "satus")[2]


def test_a_half_prepared_dataset(shop: Workshop, call: Call) -> None:
    half = shop.root / "data" / "absent"
    half.mkdir(parents=True)
    (half / "xyz.npy").write_bytes(b"\x93NUMPY")
    code, _, err = call(*run_arguments(shop, "-p", "tiny", "-d", "absent/xsub"))
    assert code == 4
    assert f"absent is not prepared in {half.parent}" in err
    assert err.count("\n") == 1


def test_a_missing_dataset_leaves_the_others_and_ends_with_4(shop: Workshop, call: Call) -> None:
    code, out, err = call(*run_arguments(shop, *GOOD, "-d", "absent/xsub"))
    assert code == 4
    assert "missing: " in out
    assert len(results(shop.out)) == 1
    assert not err


def test_a_refused_plugin_leaves_the_others_and_ends_with_1(shop: Workshop, call: Call) -> None:
    shop.plugin("picky", layouts=["kinect_v2_25"])
    code, out, _ = call(*run_arguments(shop, *GOOD, "-p", "picky"))
    assert code == 1
    assert "refused: picky on tiny/xsub: picky on tiny: the plugin does not support layout nite_15" in out
    assert len(results(shop.out)) == 1


def test_a_failing_plugin_leaves_the_others_and_says_how_to_retry(shop: Workshop, call: Call) -> None:
    shop.plugin("bad", "raise ValueError('no [bold]such[/] thing')")
    code, out, err = call(*run_arguments(shop, "-p", "bad", *GOOD))
    assert code == 1
    assert "error: bad on tiny, pretrain: ValueError: no [bold]such[/] thing" in out
    hint = shlex.split(next(line for line in out.splitlines() if line.startswith("retry with: ")))[2:]
    assert {"bad", "tiny", "tiny/xsub", "knn"} <= set(hint)
    code, again, _ = call(*hint[1:])
    assert code == 1
    assert "1 pretrainings and 1 evaluations to run, 1 records kept" in again
    assert "error: bad on tiny, pretrain" in again
    assert "1 records, 1 failed, 1 skipped" in out
    assert (shop.out / "boards" / "custom" / "board.md").is_file()
    assert "Traceback" not in out + err
    code, out, _ = call("bench", "status", "--out", str(shop.out))
    assert code == 0
    assert "1 of 2 cells done, 1 failed, 0 missing" in out
    assert "ValueError: no [bold]such[/] thing" in out


# -- folders that refuse ------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a memory file system with options; skips where that is not permitted."""
    mounts: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"mount{len(mounts)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting is not permitted here")
        mounts.append(place)
        return place

    yield mount
    for place in mounts:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_read_only_output_folder(shop: Workshop, call: Call, mounted: Callable[[str], Path]) -> None:
    place = mounted("ro,size=1m")
    for out in (place, place / "runs"):
        code, _, err = call(*run_arguments(shop, *GOOD, "--out", str(out)))
        assert code == 1
        written = out if out != place else place / "plan.json"
        assert err == (f"error: can't write {written}: the file system is read-only. "
                       "Choose another folder with --out.\n")


def test_a_full_output_folder_and_the_same_command_with_room(shop: Workshop, call: Call,
                                                             mounted: Callable[[str], Path]) -> None:
    place = mounted("size=64k")
    (place / "ballast").write_bytes(b"x" * 40_000)
    code, out, err = call(*run_arguments(shop, *GOOD, "--out", str(place)))
    assert code == 1
    assert "the disk is full" in out + err  # of the cell, or where its failure finds no room either, of the run
    assert "Traceback" not in err
    assert not list(place.rglob(".tmp-*"))
    assert not results(place)
    subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
    assert call(*run_arguments(shop, *GOOD, "--out", str(place)))[0] == 0
    assert len(results(place)) == 1


def test_a_limit_on_the_size_of_files(shop: Workshop, call: Call) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        code, _, err = call(*run_arguments(shop, *GOOD))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert err == (f"error: can't write {shop.out / 'plan.json'}: the file is larger than the limit set for this "
                   "process. Raise the limit (ulimit -f).\n")
    assert list(shop.out.iterdir()) == []


@pytest.mark.parametrize("harm", ["file", "link"])
def test_something_else_in_the_place_of_a_folder(shop: Workshop, call: Call, harm: str) -> None:
    if harm == "file":
        shop.out.write_text("")
        code, _, err = call(*run_arguments(shop, *GOOD))
    else:
        shop.out.mkdir()
        (shop.out / "pretrain").symlink_to("/tmp")
        code, _, err = call(*run_arguments(shop, *GOOD))
    assert code == 1
    assert "Traceback" not in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(shop: Workshop, call: Call) -> None:
    shop.out.mkdir(mode=0o500)
    code, _, err = call(*run_arguments(shop, *GOOD))
    assert code == 1
    assert "permission denied" in err


def test_a_record_that_was_edited_costs_the_board_not_the_run(shop: Workshop, call: Call) -> None:
    assert call(*run_arguments(shop, *GOOD))[0] == 0
    record = next(shop.out.glob("records/*/*/*.json"))
    other = record.with_name(f"{'0' * 16}.json")
    other.write_text(record.read_text().replace('"top1"', '"top9"'))
    code, out, err = call(*run_arguments(shop, *GOOD, "-e", "linear"))
    assert code == 1
    assert "no board was written" in out
    assert "2 records, 0 failed" in out
    assert "Traceback" not in err


# -- output for programs ------------------------------------------------------------------------------------------


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


def test_a_run_as_json_is_one_event_a_line(shop: Workshop, call: Call) -> None:
    code, out, err = call(*run_arguments(shop, *GOOD, "--json"))
    assert code == 0
    events = [strict(line) for line in out.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "warning"
    assert names[1] == "start"
    assert names[-1] == "report"
    assert {"begin", "progress", "end"} < set(names)
    progress = next(event for event in events if event["event"] == "progress" and event["stage"] == "pretrain")
    assert {"id", "step", "total", "loss", "samples_per_s"} <= set(progress)
    assert not err


def test_a_dry_run_and_a_plan_say_the_same_and_write_nothing(shop: Workshop, call: Call, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*.json"))
    code, dry, _ = call(*run_arguments(shop, *GOOD, "--dry-run", "--json"))
    assert code == 0
    chosen = [arg for arg in shop.run_arguments if arg not in ("--out", str(shop.out))]
    assert call("bench", "plan", *chosen, *GOOD, "--json") == (0, dry, "")
    plan = strict(dry)
    assert len(plan["cells"]) == len(plan["pretrainings"]) == 1
    assert plan["warnings"]
    code, text, _ = call(*run_arguments(shop, *GOOD, "--dry-run"))
    assert plan["pretrainings"][0]["id"] in text
    assert plan["cells"][0]["id"] in text
    assert sorted(tmp_path.rglob("*.json")) == before
    assert not shop.out.exists()


def test_a_dry_run_of_what_can_not_be_run(shop: Workshop, call: Call) -> None:
    code, out, _ = call(*run_arguments(shop, *GOOD, "--set", "scal=1", "--dry-run"))
    assert code == 2
    assert "refused: tiny on tiny/xsub" in out
    code, out, _ = call(*run_arguments(shop, *GOOD, "-d", "absent", "--dry-run"))
    assert code == 4
    assert "missing: " in out


def test_status(shop: Workshop, call: Call) -> None:
    assert call("bench", "status", "--out", "nowhere")[0] == 4
    call(*run_arguments(shop, *GOOD))
    found = strict(call("bench", "status", "--out", str(shop.out), "--json")[1])
    assert found == {"suite": "custom", "planned": 1, "done": 1, "failed": 0, "missing": 0, "failures": [],
                     "pretrainings": {"planned": 1, "done": 1}, "running": [], "eta_s": 0.0}
    for torn in ("{", "[]", '{"suite": "x"}', '{"suite": "x", "cells": [1]}', '{"suite": "x", "cells": [{}]}',
                 '{"suite": "x", "cells": 3}', "[" * 100_000):
        (shop.out / "plan.json").write_text(torn)
        code, _, err = call("bench", "status", "--out", str(shop.out))
        assert (code, err.count("\n")) == (2, 1)
        assert "is torn" in err
        assert "Run the same command again" in err


def test_the_same_command_again_does_nothing(shop: Workshop, call: Call) -> None:
    call(*run_arguments(shop, *GOOD))
    code, out, _ = call(*run_arguments(shop, *GOOD))
    assert code == 0
    assert "0 pretrainings and 0 evaluations to run, 1 records kept" in out


@pytest.mark.parametrize("what", ["plugin", "registry", "suite", "train", "record", "failure"])
def test_schemas_are_valid_json_schemas(call: Call, what: str) -> None:
    code, out, _ = call("schema", what)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(strict(out))


def test_what_a_run_writes_follows_the_schemas(shop: Workshop, call: Call) -> None:
    shop.plugin("bad", "raise ValueError('x')")
    call(*run_arguments(shop, *GOOD, "-p", "bad"))
    for what, pattern in (("record", "records/*/*/*.json"), ("failure", "failures/*.json")):
        schema = strict(call("schema", what)[1])
        files = list(shop.out.glob(pattern))
        assert len(files) == 1
        jsonschema.Draft202012Validator(schema).validate(strict(files[0].read_text()))


# -- plugin, doctor -----------------------------------------------------------------------------------------------


def test_plugin_list_and_show(shop: Workshop, call: Call) -> None:
    (shop.plugin("torn") / "plugin.yaml").write_text("[")
    code, out, _ = call("plugin", "list", "--plugins", str(shop.root), "--json")
    assert code == 0
    rows = {row["name"]: row for row in strict(out)}
    assert rows["tiny"]["state"] == "ok"
    assert rows["torn"]["state"] == "broken"
    assert "line 1" in rows["torn"]["error"]
    code, out, _ = call("plugin", "list", "--plugins", str(shop.root))
    assert code == 0
    assert "broken" in out
    code, out, _ = call("plugin", "show", "tiny", "--plugins", str(shop.root), "--json")
    assert strict(out)["card"]["name"] == "tiny"
    assert call("plugin", "show", "tiny", "--plugins", str(shop.root))[1].startswith("tiny 1: tiny tiny\n")
    code, _, err = call("plugin", "show", "torn", "--plugins", str(shop.root))
    assert code == 2
    assert "is broken" in err
    for kind in ("backbones", "evaluators", "datasets", "executors", "suites"):
        assert call("plugin", "list", "--kind", kind)[0] == 0


def test_markup_in_a_card_is_shown_as_it_is(shop: Workshop, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shop.plugin("loud", summary="[red]look[/red] at me")
    assert "[red]look[/red]" in call("plugin", "list", "--plugins", str(shop.root))[1]


def test_doctor(shop: Workshop, call: Call) -> None:
    code, out, _ = call("doctor", "--data-root", "absent", "--out", "deep/er/runs", "--json")
    assert code == 0
    found = {row["what"]: row["state"] for row in strict(out)}
    assert {"machine", "python", "packages", "threads", "cuda", "plugins", "disk"} <= set(found)
    assert found["dataset synthetic"] == "made on use"
    assert found["dataset nw-ucla"] == "absent"
    assert call("doctor")[0] == 0
    (shop.plugin("torn") / "plugin.yaml").write_text("[")
    code, out, _ = call("doctor", "--plugins", str(shop.root), "--json")
    assert code == 1
    assert {row["what"]: row["state"] for row in strict(out)}["plugin torn"] == "broken"


def test_the_board_of_a_run_knows_the_cards_of_outside_plugins(shop: Workshop, call: Call) -> None:
    assert call(*run_arguments(shop, *GOOD))[0] == 0
    page = (shop.out / "boards" / "custom" / "pages" / "plugin-tiny.html").read_text()
    assert "tiny tiny" in page  # the card's summary; the registry of the suite has no such plugin
