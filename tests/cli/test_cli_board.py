from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from helpers.records import fill, make_record
from ssl_skel.bench.store import RecordStore
from ssl_skel.cli.board import board, compare, verify
from ssl_skel.errors import DATA, USAGE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return fill(tmp_path / "out", *(make_record(accuracy, plugin=plugin, seed=seed, dataset=dataset, split="v3")
                                    for plugin, accuracy in (("simclr", 0.6), ("moco", 0.7), ("random", 0.3))
                                    for dataset in ("nw-ucla", "sbu") for seed in (0, 1)))


def run(command: object, store: RecordStore, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--records", str(store.root)])  # type: ignore[arg-type]


def test_a_board_is_printed_and_written(store: RecordStore) -> None:
    done = run(board, store)
    assert done.exit_code == 0, done.output
    assert "## nw-ucla v3, linear" in done.stdout
    assert "index.html" in done.stderr
    assert (store.root / "boards/all/index.html").is_file()
    again = run(board, store, "--check")
    assert again.exit_code == 0
    assert "agree (all)" in again.stdout


@pytest.mark.parametrize(("form", "start"), [("md", "# All records"), ("csv", "kind,dataset"), ("json", "{"),
                                             ("tex", "% needs"), ("html", "<!doctype html>")])
def test_one_format_goes_to_stdout_and_nothing_is_written(store: RecordStore, form: str, start: str) -> None:
    done = run(board, store, "--format", form)
    assert done.exit_code == 0
    assert done.stdout.startswith(start)
    assert not (store.root / "boards").exists()


def test_format_and_folder_of_ones_own(store: RecordStore, tmp_path: Path) -> None:
    assert run(board, store, "--format", "csv", "--out", str(tmp_path / "b.csv")).exit_code == 0
    assert (tmp_path / "b.csv").read_text().startswith("kind,")
    assert run(board, store, "--out", str(tmp_path / "deep/board")).exit_code == 0
    assert (tmp_path / "deep/board/index.html").is_file()
    assert not (store.root / "boards").exists()


def test_check_fails_on_an_edited_board_and_on_a_removed_record(store: RecordStore) -> None:
    run(board, store)
    page = store.root / "boards/all/board.md"
    text = page.read_text()
    page.write_text(text + "\n")
    done = run(board, store, "--check")
    assert done.exit_code == DATA
    assert "board.md is not what its records give" in done.stderr
    page.write_text(text)
    record = store.all()[0]
    store.record_path(record.id, record.cell).unlink()
    done = run(board, store, "--check")
    assert done.exit_code == USAGE
    assert f"record {record.id}" in done.stderr


@pytest.mark.parametrize("arguments", [["--suite", "nothing"], ["--suite", "../x"], ["--format", "pdf"]])
def test_what_cannot_be_rendered_is_a_usage_error(store: RecordStore, arguments: list[str]) -> None:
    done = run(board, store, *arguments)
    assert done.exit_code == USAGE
    assert done.stdout == ""
    assert "Traceback" not in done.output


def test_an_empty_folder_is_a_usage_error(tmp_path: Path) -> None:
    done = run(board, RecordStore(tmp_path / "nothing"))
    assert done.exit_code == USAGE
    assert "holds no records" in done.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_comparison_reads_as_text_and_as_json(store: RecordStore) -> None:
    done = run(compare, store, "moco", "simclr")
    assert done.exit_code == 0
    assert "A moco:st-gcn:encoder: 70.00 %   B simclr:st-gcn:encoder: 60.00 %" in done.stdout
    assert "6 clips right in A only, 0 in B only, p = 0.0312" in done.stdout
    assert re.search(r"over 2 splits.*, linear: difference \+10\.00 points", done.stdout)
    data = json.loads(run(compare, store, "moco", "simclr", "--json", "-d", "sbu/v3", "-e", "linear").stdout)
    assert [item["dataset"] for item in data["each"]] == ["sbu"]
    assert data["over_all"] == {}
    assert run(compare, store, "moco", "smclr").exit_code == USAGE
    assert run(compare, store, "moco", "simclr", "-d", "other").exit_code == USAGE


def test_verify_says_what_agrees(store: RecordStore) -> None:
    record = store.all()[0]
    path = store.record_path(record.id, record.cell)
    for name in (record.id, str(path)):
        done = run(verify, store, name, "--rescore")
        assert done.exit_code == 0
        assert f"{record.id}: seal, place, predictions, scores (mean_class, top1, top5) agree" in done.stdout


def test_a_file_is_verified_in_the_folder_that_it_lies_in(store: RecordStore, tmp_path: Path) -> None:
    record = store.all()[0]
    path = str(store.record_path(record.id, record.cell))
    done = CliRunner().invoke(verify, [path])
    assert done.exit_code == 0, done.output
    assert f"{record.id}: seal" in done.stdout
    done = CliRunner().invoke(verify, [path, "--records", str(tmp_path / "other")])
    assert done.exit_code == USAGE
    assert "does not lie under" in done.stderr
    assert CliRunner().invoke(verify, [record.id]).exit_code == USAGE  # `runs` has no such record


def test_verify_all_names_every_problem(store: RecordStore) -> None:
    assert run(verify, store, "--all", "--rescore").exit_code == 0
    first, second, third, *_ = store.all()
    store.record_path(first.id, first.cell).write_text("{")
    store.predictions_path(second.id).unlink()
    card = store.pretrain_folder(third.pretrain_id) / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"id": third.pretrain_id, "encoders_sha256": "other"}))
    done = run(verify, store, "--all")
    assert done.exit_code == USAGE
    assert len(done.stderr.splitlines()) >= 3
    for part in (first.id, second.id, "computed from other encoders"):
        assert part in done.stderr


def test_verify_all_looks_at_boards_too(store: RecordStore) -> None:
    run(board, store)
    assert run(verify, store, "--all").exit_code == 0
    (store.root / "boards/all/index.html").write_text("<p>we win</p>")
    done = run(verify, store, "--all")
    assert done.exit_code == DATA
    assert "index.html" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--all", "0" * 16], ["0" * 16], ["nothing"], ["/etc/passwd"]])
def test_verify_of_nothing_is_one_line(store: RecordStore, arguments: list[str]) -> None:
    done = run(verify, store, *arguments)
    assert done.exit_code == USAGE
    assert len(done.stderr.strip().splitlines()) == 1


def test_boards_are_rendered_without_torch(store: RecordStore) -> None:
    code = ("import sys\nfrom click.testing import CliRunner\nfrom ssl_skel.cli.board import board, compare, verify\n"
            f"root = {str(store.root)!r}\n"
            "for command, arguments in ((board, []), (board, ['--check']), (compare, ['moco', 'simclr']), "
            "(verify, ['--all', '--rescore'])):\n"
            "    done = CliRunner().invoke(command, [*arguments, '--records', root])\n"
            "    assert done.exit_code == 0, done.output\n"
            "print('torch' in sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    assert done.stdout.strip() == "False", done.stderr
