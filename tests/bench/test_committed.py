"""The committed leaderboards: records agree with themselves, scores with predictions, boards with both."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssl_skel.bench.predictions import check_scores
from ssl_skel.bench.record import Record
from ssl_skel.bench.store import RecordStore
from ssl_skel.cli.board import board, compare

ROOT = Path(__file__).parents[2] / "leaderboards"
RECORDS = RecordStore(ROOT).all()


def test_there_are_records_of_real_runs() -> None:
    assert {record.cell.dataset for record in RECORDS} >= {"nw-ucla"}
    assert {record.cell.plugin for record in RECORDS} >= {"colorization", "simclr", "random"}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.id)
def test_scores_follow_from_predictions(record: Record) -> None:
    assert "top1" in check_scores(record, RecordStore(ROOT).read_predictions(record))


def test_boards_are_what_the_records_give() -> None:
    result = CliRunner().invoke(board, ["--records", str(ROOT), "--check"])
    assert result.exit_code == 0, result.output


def test_committed_boards_are_their_index_alone() -> None:
    """Pages are rendered where they are read (`bench board --pages`): one a record would fill the history."""
    assert not list(ROOT.glob("boards/*/pages")), "render the board again with --no-pages"


def test_each_pretraining_has_its_card_and_no_weights() -> None:
    for record in RECORDS:
        folder = ROOT / "pretrain" / record.pretrain_id
        assert (folder / "card.json").is_file()
        assert {path.suffix for path in folder.iterdir()} <= {".json", ".jsonl"}


def test_every_dataset_of_a_record_is_audited_with_the_counts_of_its_records() -> None:
    for dataset in {record.cell.dataset for record in RECORDS}:
        report = json.loads((ROOT / "audit" / dataset / "audit.json").read_text())
        sizes = {split["name"]: split["test"] for split in report["splits"]}
        for record in RECORDS:
            if record.cell.dataset == dataset and record.cell.evaluator in ("linear", "knn"):
                assert sizes[record.cell.split] == record.n.test


def test_the_comparison_in_the_readme_is_what_the_records_give() -> None:
    text = (ROOT.parent / "README.md").read_text()
    command, _, rest = text[text.index("$ ssl-skel bench compare ") + 2:].partition("\n")
    words = shlex.split(command)[3:]
    words[words.index("leaderboards")] = str(ROOT)
    result = CliRunner().invoke(compare, words)
    assert result.exit_code == 0, result.output
    assert result.output == rest[:rest.index("```")]
