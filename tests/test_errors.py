"""Errors are one line that can be shown anywhere, whatever they quote."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from ssl_skel.errors import MAX_MESSAGE, BadData, SkelError


@given(st.text(), st.text(max_size=50))
def test_a_message_is_one_printable_line(what: str, todo: str) -> None:
    said = SkelError(what, todo).format_message()
    assert said.isprintable()
    assert SkelError(said).format_message() == " ".join(said.split())


def test_nothing_that_steers_a_terminal_or_turns_text_round_passes() -> None:
    assert BadData("a\x1b[2Jb\u202ec\nd\ud800").what == r"a\x1b[2Jb\u202ec d\ud800"


def test_what_is_quoted_without_end_is_cut() -> None:
    assert len(BadData("x" * 10**6, "y" * 10**6).message) < 2 * MAX_MESSAGE + 20


def test_an_error_survives_a_trip_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BadData("x\x1b", "Look.")))
    assert (error.what, error.todo, error.exit_code) == (r"x\x1b", "Look.", 4)
