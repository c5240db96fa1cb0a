"""A sample of the fuzzing; `python tests/fuzz.py --rounds 10000` feeds the rest."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from fuzz import Figures, feed, run
from helpers import mutate
from helpers.fuzz_data import Target
from ssl_skel.errors import BadData


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spoilt_files_are_read_or_refused_in_one_line() -> None:
    from helpers.fuzz_targets import TARGETS

    found = list(run(list(TARGETS), seed=1, first=0, rounds=25))
    assert [figures.name for figures in found] == list(TARGETS)
    assert not [(figures.name, problem) for figures in found for problem in figures.problems]
    assert all(sum(figures.counts.values()) == 25 for figures in found)
    assert sum(figures.counts["refused"] for figures in found) > 200


class Unclear(BadData):
    """An error that says what it was given, as it is."""

    def format_message(self) -> str:
        return self.message


def _unclear(text: str) -> Unclear:
    error = Unclear("x")
    error.message = text
    return error


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(("error", "outcome"), [
    (BadData("no clip", "Look."), "refused"), (_unclear("\x1b[2J"), "problem"), (_unclear("x" * 5000), "problem"),
    (ValueError("x"), "problem"), (MemoryError(), "problem"), (SystemExit(0), "problem"), (RecursionError(), "problem"),
])
def test_only_a_clear_line_counts_as_refused(error: BaseException, outcome: str) -> None:
    assert feed(lambda data: _raise(error), b"")[0] == outcome
    assert feed(len, b"") == ("read", "")


def test_inputs_are_the_same_everywhere_and_differ() -> None:
    target = Target((b'{"a": [1, 2, {"b": "text"}]}',), len)
    made = [target.make(Random(f"0/x/{number}")) for number in range(200)]
    assert made == [target.make(Random(f"0/x/{number}")) for number in range(200)]
    assert len(set(made)) > 150
    assert max(map(len, made)) <= mutate.MAX_BYTES


def test_figures_are_told_without_the_inputs_that_went_wrong() -> None:
    figures = Figures("x", 0)
    figures.problems.append({"round": 3, "what": "crash"})
    assert '"problems": 1' in figures.line()
    assert "crash" not in figures.line()


@pytest.mark.slow
def test_inputs_that_once_got_through_are_refused(tmp_path: Path) -> None:
    """Half a character in a card, a manifest 300 deep; see the history of the files that refuse them."""
    from helpers import fuzz_targets

    card = fuzz_targets.pretraining_card(tmp_path / "card")
    spoilt = json.loads(card.samples[0])
    spoilt["cell"]["config"] = {"x": "\ud800"}
    assert feed(card.read, json.dumps(spoilt).encode())[0] == "refused"
    manifest = fuzz_targets.manifest(tmp_path / "manifest")
    spoilt = json.loads(manifest.samples[0])
    spoilt["cards"] = {"a": json.loads('{"a":' * 300 + "1" + "}" * 300)}
    assert feed(manifest.read, json.dumps(spoilt).encode())[0] == "refused"
    assert all(feed(target.read, target.samples[0])[0] == "read" for target in (card, manifest))
