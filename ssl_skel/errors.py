"""The one error family of the suite.

Every error that a user can cause derives from `SkelError`: one line that says what is wrong, where, and
what to do about it, and the exit code that the command line ends with. Nothing here imports more than Click.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

OK = 0
SOME_FAILED = 1
USAGE = 2
CONTRACT = 3
DATA = 4
INTERRUPTED = 130


MAX_MESSAGE = 1500


def one_line(text: str) -> str:
    """Bring text, which may quote a stranger's file, to one line of printable characters and bounded length."""
    line = " ".join(text.split())
    if len(line) > MAX_MESSAGE:
        line = f"{line[:MAX_MESSAGE]} ..."
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


class SkelError(click.ClickException):
    """A mistake that the user can mend; shown as one line, never as a traceback.

    Args:
        what: What is wrong, and where (a path, a key, a line).
        todo: What to do about it; appended after a full stop.
    """

    exit_code = USAGE

    def __init__(self, what: str, todo: str = "") -> None:
        self.what, self.todo = one_line(what), one_line(todo)
        super().__init__(f"{self.what}. {self.todo}" if todo else self.what)

    def __reduce__(self) -> tuple[type[SkelError], tuple[str, str]]:
        """Survive a trip between processes (workers raise these)."""
        return type(self), (self.what, self.todo)


class UsageMistake(SkelError):
    """A wrong option, key or value on the command line."""


class UnknownName(SkelError):
    """A name that no registry holds; suggests the nearest one.

    Args:
        kind: What was looked for ("plugin", "suite", ...).
        name: The name given.
        known: The names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}", suggest(name, self.known))

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, list[str]]]:  # type: ignore[override]
        """Survive a trip between processes."""
        return type(self), (self.kind, self.name, self.known)


class BadCard(SkelError):
    """A card, registry or suite file that does not validate."""


class BadRecord(SkelError):
    """A record whose content, path or digest does not agree with itself."""


class BrokenPlugin(SkelError):
    """A plugin that can't be used: its import fails, its card is wrong, its name is taken."""


class ContractFailed(SkelError):
    """A plugin that breaks the contract."""

    exit_code = CONTRACT


class ForbiddenRead(SkelError):
    """A method that tried to read labels, test clips or data files where it may not."""

    exit_code = CONTRACT


class TooLarge(SkelError):
    """A cell that the machine's memory can't hold."""

    exit_code = SOME_FAILED


class NotReproduced(SkelError):
    """A number that does not come out again."""

    exit_code = CONTRACT


class DataMissing(SkelError):
    """A dataset that is not prepared, or only half."""

    exit_code = DATA


class BadData(SkelError):
    """A file or clip that can't be read as what it claims to be."""

    exit_code = DATA


class DigestMismatch(SkelError):
    """Content that is not what its digest says."""

    exit_code = DATA


class OutputError(SkelError):
    """The output folder can't be written (read-only, full, removed)."""

    exit_code = SOME_FAILED


class Diverged(SkelError):
    """Training met a loss that is not finite.

    Args:
        what: The loss, and where it was met.
        todo: What to do about it.
        step: Optimiser step, from 1.
        clips: Names of the clips of its batch.
    """

    exit_code = SOME_FAILED

    def __init__(self, what: str, todo: str = "", step: int = 0, clips: Iterable[str] = ()) -> None:
        self.step, self.clips = step, list(clips)
        super().__init__(what, todo)

    def __reduce__(self) -> tuple[type[Diverged], tuple[str, str, int, list[str]]]:  # type: ignore[override]
        """Survive a trip between processes."""
        return type(self), (self.what, self.todo, self.step, self.clips)


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant.

    Args:
        name: The name given.
        known: The names that exist.

    Returns:
        "Did you mean 'x'?" or the list of what exists.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(names)}" if names else "None is registered."
