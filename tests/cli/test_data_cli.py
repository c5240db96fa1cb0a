"""``ssl-skel data``: what it prints, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.raw_ucla import clip_name, write_folder
from ssl_skel.cli.words import dropped_line

REPO = Path(__file__).resolve().parents[2]
MAIN = "from ssl_skel.cli.main import main; main()"


def run(*words, code=0):
    """Run the command line in a process of its own and return what it printed."""
    ended = subprocess.run([sys.executable, "-c", MAIN, "data", *map(str, words)], capture_output=True, text=True,
                           env=os.environ | {"PYTHONPATH": str(REPO), "COLUMNS": "100"})
    assert ended.returncode == code, ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    if code:
        assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
        return ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    raw = write_folder(folder / "raw", 130)
    (raw / f"{clip_name()}.json").write_text("{")
    return folder, raw, run("prepare", "nw-ucla", "--raw", raw, "--data-root", folder, "--workers", 2)


def test_prepare_ends_with_a_report(prepared):
    folder, _, printed = prepared
    assert "130 files read, 129 clips kept" in printed
    assert f"unreadable: {clip_name()}.json: not a whole JSON file" in printed
    assert f"wrote {folder / 'nw-ucla'}" in printed


def test_prepare_again_and_strict(prepared):
    folder, raw, _ = prepared
    assert "prepared already" in run("prepare", "nw-ucla", "--raw", raw, "--data-root", folder)
    error = run("prepare", "nw-ucla", "--raw", raw, "--data-root", folder / "strict", "--strict", code=4)
    assert "not a whole JSON file" in error


def test_list(prepared):
    folder, _, _ = prepared
    (folder / "sbu.partial").mkdir(exist_ok=True)
    entries = {entry["name"]: entry for entry in json.loads(run("list", "--json", "--data-root", folder))}
    assert entries["nw-ucla"]["state"] == "prepared"
    assert entries["nw-ucla"]["clips"] == 129
    assert entries["synthetic"]["state"] == "generated"
    assert entries["ntu60"]["state"] == "not prepared"
    assert entries["ntu60"]["source"]
    assert entries["sbu"]["state"] == "half prepared"
    table = run("list", "--data-root", folder)
    assert "half prepared" in table
    assert entries["ntu60"]["source"] in table


def test_show(prepared):
    folder, _, _ = prepared
    facts = json.loads(run("show", "nw-ucla", "--json", "--data-root", folder))
    assert facts["class_names"][3] == "walk around"
    assert sum(facts["per_class"]) == sum(facts["per_subject"].values()) == facts["clips"] == 129
    assert sum(bin_["clips"] for bin_ in facts["frames"]["histogram"]) == 129
    assert facts["per_persons"] == {"1": 129}
    assert facts["preprocessing"]["default"] == "first-frame"
    assert len(facts["digest"]) == 64
    assert facts["licence"]
    assert facts["citation"]
    splits = {split["name"]: split for split in facts["splits"]}
    assert splits["v3"]["clean_twin"] == "v3-clean"
    assert splits["v3"]["complete"] is False
    table = run("show", "nw-ucla", "--data-root", folder)
    for word in ("walk around", "first-frame", facts["digest"][:20], "LEAK", "1020/464"):
        assert word in table


def test_show_of_what_is_not_prepared(tmp_path):
    facts = json.loads(run("show", "ntu120", "--json", "--data-root", tmp_path))
    assert facts["state"] == "not prepared"
    assert len(facts["class_names"]) == 120
    assert "per_class" not in facts
    assert "not prepared" in run("show", "ntu120", "--data-root", tmp_path)


def test_show_names_groups_of_splits(tmp_path):
    assert json.loads(run("show", "sbu", "--json", "--data-root", tmp_path))["groups"] == {
        "folds": [f"fold{number}" for number in range(1, 6)]}
    shown = " ".join(run("show", "uwa3d", "--data-root", tmp_path).split())
    assert "uwa3d/xview stands for v12-v3, v12-v4" in shown


@pytest.mark.parametrize(("rule", "line"), [
    ("body-short", "3 bodies dropped: body-short"), ("frame-empty", "frames of 3 clips dropped: frame-empty"),
    ("no-body", "3 clips dropped: no-body"), ("missing-skeletons-list", "3 clips dropped: missing-skeletons-list")])
def test_the_report_says_what_was_dropped(rule, line):
    assert dropped_line(rule, 3) == line


def test_show_of_a_generated_dataset(tmp_path):
    facts = json.loads(run("show", "synthetic-2p", "--json", "--data-root", tmp_path))
    assert facts["clips"] == 480
    assert all(split["complete"] for split in facts["splits"])


def test_verify(prepared, tmp_path):
    folder, raw, _ = prepared
    assert "129 clips, every file as written" in run("verify", "nw-ucla", "--data-root", folder)
    run("prepare", "nw-ucla", "--raw", raw, "--data-root", tmp_path)
    path = tmp_path / "nw-ucla" / "rows.npy"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert "rows.npy has changed" in run("verify", "nw-ucla", "--data-root", tmp_path, code=4)
    path.write_bytes(content[:-4])
    entries = {entry["name"]: entry for entry in json.loads(run("list", "--json", "--data-root", tmp_path))}
    assert entries["nw-ucla"]["state"] == "damaged"


@pytest.mark.parametrize(("words", "code", "message"), [
    (("prepare", "nw-ucal", "--raw", "x"), 2, "Did you mean 'nw-ucla'"),
    (("prepare", "synthetic", "--raw", "x"), 4, "generated"),
    (("prepare", "nw-ucla", "--raw", "/nowhere"), 4, "no folder /nowhere"),
    (("verify", "nw-ucla", "--data-root", "/nowhere"), 4, "not prepared in /nowhere"),
    (("show", "sint"), 2, "unknown dataset 'sint'"),
    (("import", "sbu", "x.pkl", "--format", "pyskl-pkl"), 4, "known only for ntu60 and ntu120"),
    (("import", "synthetic", "x.pkl", "--format", "pyskl-pkl"), 4, "can't be imported as synthetic"),
])
def test_mistakes_are_one_line(words, code, message):
    assert message in run(*words, code=code)


def test_nothing_here_imports_torch(prepared):
    folder, raw, _ = prepared
    for words in (["list"], ["show", "nw-ucla"], ["verify", "nw-ucla"], ["prepare", "nw-ucla", "--raw", str(raw)]):
        code = (f"import sys; sys.argv = ['ssl-skel', 'data', *{words!r}, '--data-root', {str(folder)!r}]\n"
                "try:\n    from ssl_skel.cli.main import main; main()\nfinally:\n"
                "    print('torch' in sys.modules, file=sys.stderr)")
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                               env=os.environ | {"PYTHONPATH": str(REPO)})
        assert ended.stderr.strip() == "False"
