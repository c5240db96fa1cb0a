"""Every plugin in the registry honours the contract: a new folder is tested by existing."""

from __future__ import annotations

import pytest

from ssl_skel.check import LEVELS, Check, run_check
from ssl_skel.contract.subject import Subject
from ssl_skel.registry import discover
from ssl_skel.testing import contract_cases

CASES = contract_cases([], "full")
ALONE = {check.__name__ for check in LEVELS["full"]} - {"pinned_values_hold"}


def _name(case: tuple[Check, Subject]) -> str:
    return f"{case[1].entry.name}-{case[0].__name__}"


@pytest.mark.parametrize(("check", "subject"), [
    pytest.param(*case, id=_name(case), marks=[pytest.mark.slow] if case[0].__name__ in ALONE else [])
    for case in CASES])
def test_contract(check: Check, subject: Subject) -> None:
    outcome = run_check(check, subject)
    if outcome.state in ("skipped", "expected"):
        pytest.skip(outcome.message)
    assert outcome.state == "passed", outcome.message


def test_every_folder_is_covered() -> None:
    names = {subject.entry.name for _, subject in CASES}
    assert {"colorization", "simclr", "random"} <= names
    assert names >= set(discover().names("plugins"))
    assert not [entry for entry in discover().broken if entry.kind == "plugins"]
