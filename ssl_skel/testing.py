"""The contract for pytest: one item a check.

``pytest --ssl-skel-plugin PATH`` tests a plugin folder. An installed package decorates a test of its own::

    from ssl_skel.testing import contract

    @contract("backbone", "my-net")
    def test_contract(check):
        check()

Inside this repository the tests call `contract_cases` for whatever the registry holds, so that a new folder is
tested by existing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ssl_skel.check import Check
    from ssl_skel.contract.subject import Subject


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--ssl-skel-plugin`` and ``--ssl-skel-level``."""
    group = parser.getgroup("ssl_skel")
    group.addoption("--ssl-skel-plugin", action="append", default=[], metavar="PATH", help="plugin folder to check")
    group.addoption("--ssl-skel-level", default="train", choices=["card", "api", "train", "full"])


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add one item for each check of each plugin folder that was given."""
    for path in config.getoption("--ssl-skel-plugin"):
        for check, subject in contract_cases([path], config.getoption("--ssl-skel-level")):
            name = f"{subject.entry.name}-{check.__name__}"
            items.append(ContractItem.from_parent(session, name=name, check=check, subject=subject))


def contract_cases(paths: Iterable[str], level: str) -> list[tuple[Check, Subject]]:
    """Every check of a level for every plugin found under `paths` (or, without any, in the registry).

    Args:
        paths: Plugin folders.
        level: ``card``, ``api``, ``train`` or ``full``.
    """
    from ssl_skel.check import checks_of
    from ssl_skel.contract.subject import Subject
    from ssl_skel.registry import discover

    given = tuple(paths)
    catalogue = discover(given)
    entries = [*catalogue.entries("plugins"), *(e for e in catalogue.broken if e.kind == "plugins")]
    chosen = [e for e in entries if not given or (e.folder and any(str(e.folder).startswith(p) for p in given))]
    return [(check, Subject(entry, catalogue)) for entry in chosen for check in checks_of(level)]


def contract(kind: str, name: str, level: str = "train") -> pytest.MarkDecorator:
    """Run a test once for each check of the contract of a registered part; the test calls its argument ``check``.

    Args:
        kind: ``plugin``, ``backbone``, ``evaluator`` or ``dataset``.
        name: As it is registered (the package has to be installed).
        level: Of a plugin's checks.

    Raises:
        UnknownName: If nothing of that kind has the name; suggests the nearest.
    """
    from ssl_skel.check import checks_of
    from ssl_skel.contract.subject import Subject
    from ssl_skel.registry import discover

    catalogue = discover()
    subject = Subject(catalogue.get(f"{kind}s", name), catalogue)
    cases = [pytest.param(partial(_run, check, subject), id=check.__name__)
             for check in checks_of(level, subject.entry.kind)]
    return pytest.mark.parametrize("check", cases)


def _run(check: Check, subject: Subject) -> None:
    """Run one check; a failure is a failed test with one line."""
    from ssl_skel.check import run_check

    outcome = run_check(check, subject)
    if outcome.state == "failed":
        pytest.fail(outcome.message, pytrace=False)
    if outcome.state in ("skipped", "expected"):
        pytest.skip(outcome.message)


class ContractItem(pytest.Item):
    """One check of one plugin."""

    def __init__(self, *, check: Check, subject: Subject, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.check, self.subject = check, subject

    def runtest(self) -> None:
        """Run the check."""
        _run(self.check, self.subject)

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Where the item is said to lie."""
        return str(self.subject.entry.folder), None, f"contract: {self.name}"
