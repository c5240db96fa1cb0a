"""Runs the commands of a page and compares what they print with what the page says.

In a fenced block ``console`` a line that starts with ``$ `` is a command (a last ``\\`` goes on in the next line), and
the lines below it, up to the next command, are its output. Without such lines only success is asked for; where the
output starts with ``error: ``, failure is. In an output ``...`` stands for any text within its line, and a line that is
nothing but ``...`` for any number of lines.

A comment ``<!-- file: NAME -->`` before a fenced block of another kind writes the block to that file,
``<!-- in: NAME -->`` asks that the block stands in that file literally, ``<!-- needs: nw-ucla -->`` leaves a block
out where that dataset is not there.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from helpers.tiny import REPO

FENCE = re.compile(r"^(?:<!-- (file|in|needs): (\S+) -->\n)?```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)


def pytest_plugin() -> tuple[str, ...]:
    """What tells pytest of the suite's plugin: nothing where the suite is installed, as pytest then finds it itself."""
    installed = any(entry.value == "ssl_skel.testing" for entry in entry_points(group="pytest11"))
    return () if installed else ("-p", "ssl_skel.testing")



@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what a comment before it says."""

    language: str
    text: str
    mark: str = ""
    name: str = ""


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(language, text, mark or "", name or "") for mark, name, language, text in (m.groups() for m in found)]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        lines = part.split("\n")
        last = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
        yield " ".join(line.rstrip("\\").strip() for line in lines[:last + 1]), "\n".join(lines[last + 1:]).strip("\n")


def agrees(shown: str, printed: str) -> bool:
    """Whether an output is what a page shows of it; blanks at the ends of lines don't count."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else
        ".*".join(re.escape(piece) for piece in line.rstrip().split("...")) + r"[ ]*\n" for line in shown.split("\n"))
    return re.fullmatch(pattern, printed.strip("\n") + "\n") is not None


class Reader:
    """Somebody who follows a page in an empty folder.

    Args:
        folder: Working directory.
        instead: Text -> what is typed and expected instead of it.
        absent: Datasets that are not there.
    """

    def __init__(self, folder: Path, instead: dict[str, str], absent: frozenset[str] = frozenset()) -> None:
        self.folder, self.instead, self.absent = folder, instead, absent
        self.site = folder / "site-packages"

    def follow(self, page: Path) -> None:
        """Do everything that a page says, in order."""
        for block in blocks(page):
            text = self._said(block.text)
            if block.mark == "file":
                (self.folder / block.name).parent.mkdir(exist_ok=True)
                (self.folder / block.name).write_text(text)
            elif block.mark == "in":
                assert text in (self.folder / block.name).read_text(), f"{page.name}: not in {block.name}:\n{text}"
            elif block.language == "console" and not (block.mark == "needs" and block.name in self.absent):
                for command, shown in commands(text):
                    self._run(page, command, shown)

    def _said(self, text: str) -> str:
        for here, there in self.instead.items():
            text = text.replace(here, there)
        return text

    def _run(self, page: Path, command: str, shown: str) -> None:
        ours = command.startswith("ssl-skel ")
        code, printed = self._suite(shlex.split(command)[1:]) if ours else self._shell(command)
        told = f"{page.name}: {command}\n{printed}"
        assert (code != 0) == shown.startswith("error: "), f"exit code {code}: {told}"
        assert not shown or agrees(shown, printed), f"expected\n{shown}\n\nprinted\n{told}"

    def _suite(self, arguments: list[str]) -> tuple[int, str]:
        """Call ``ssl-skel`` in this process, which spares the imports."""
        from ssl_skel.cli.main import main
        from ssl_skel.registry import discover

        discover.cache_clear()
        importlib.invalidate_caches()
        out, argv, code = io.StringIO(), sys.argv, 0
        sys.argv = ["ssl-skel", *(str(Path(a).expanduser()) if a.startswith("~") else a for a in arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = argv
        return code, out.getvalue()

    def _shell(self, command: str) -> tuple[int, str]:
        """Run another command; ``pip`` installs beside this environment and fetches nothing."""
        env = {**os.environ, "PIP_TARGET": str(self.site), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0",
               "PIP_NO_INDEX": "1", "PIP_QUIET": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "COLUMNS": "120",
               "PYTEST_ADDOPTS": " ".join((*pytest_plugin(), "-p no:cacheprovider")),
               "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
               "PYTHONPATH": os.pathsep.join((str(REPO), str(self.site)))}
        done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=900)
        return done.returncode, done.stdout
