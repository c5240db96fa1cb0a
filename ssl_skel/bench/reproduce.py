"""The commands in a record that rebuild its environment and its cell, and the words of a plan that they repeat."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ssl_skel.bench.provenance import reproduce
from ssl_skel.bench.record import Record

if TYPE_CHECKING:
    from ssl_skel.bench.request import Asked
    from ssl_skel.bench.resolve import Settings


def command_words(asked: Asked, settings: Settings, precision: str) -> tuple[str, ...]:
    """Options of `bench run` that every cell of a plan has in common; what a cell is, its record knows itself.

    Args:
        asked: What the command line said.
        settings: Its keys, and those of its files.
        precision: Resolved, since ``auto`` asks the machine.
    """
    words = ["--suite", asked.suite] if asked.suite else []
    for plugin, table in (("", settings.common), *settings.by_plugin.items()):
        for group in ("config", "train", "backbone"):
            for key, value in getattr(table, group).items():
                words += ["--set", f"{plugin and plugin + ':'}{group}.{key}={json.dumps(value)}"]
    if asked.processes > 1:
        words += ["--gpus-per-cell", str(asked.processes)]
    return (*words, "--precision", precision)


def with_commands(record: Record, words: Sequence[str]) -> Record:
    """Put into a record the shell commands that make it again.

    Args:
        record: Finished otherwise.
        words: Of the plan, from `command_words`; without any the record is left as it is.
    """
    if not words:
        return record
    return record.model_copy(update={"reproduce": (*reproduce(record)[:-1], _run(record, words), *_caveats(record))})


def _run(record: Record, words: Sequence[str]) -> str:
    cell = record.cell
    own = f"{cell.dataset}/{cell.split}"
    places = ["-d", cell.pretrained_on, "-t", own] if cell.pretrained_on else ["-d", own]
    return shlex.join(["ssl-skel", "bench", "run", *words, "-p", cell.plugin, "-b", cell.backbone, *places,
                       "-e", cell.evaluator, "-s", str(cell.seed), "--only", record.id])


def _caveats(record: Record) -> Iterator[str]:
    git = record.env.get("git")
    if isinstance(git, dict) and git.get("dirty"):
        yield "# the code had changes that were not committed"
