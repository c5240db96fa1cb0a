"""A method's code behind the firewall: it gets clips without names or labels, and nothing to find them by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ssl_skel.data.label_sets import SHIPPED
from ssl_skel.errors import Diverged
from ssl_skel.firewall import closed
from ssl_skel.registry import Entry
from ssl_skel.sources import module_file

LABELS = "labels"
"""Folder of label sets among the prepared datasets."""
_BLIND = re.compile(r"clip #(\d+)")


def blind_names(count: int) -> list[str]:
    """Names that say nothing but the position of a clip; real ones often hold the class."""
    return [f"clip #{position}" for position in range(count)]


@contextmanager
def guarded(data_root: Path, *entries: Entry) -> Iterator[None]:
    """Close the firewall around the code of a plugin, a backbone, an evaluator.

    Args:
        data_root: Folder of the prepared datasets; of its label sets, and the shipped ones, the suite alone reads.
        entries: Whose code runs; the suite's own backbones and evaluators are not watched for looking at frames.

    Raises:
        ForbiddenRead: If they read what they may not.
    """
    suspects = [folder for folder in map(_watched, entries) if folder]
    with closed(_stores(data_root), suspects, kept=[SHIPPED, data_root / LABELS]):  # names of clips hold the class
        yield


def _watched(entry: Entry) -> Path | None:
    """Folder of the code of an entry that a person other than the suite's may have written."""
    if entry.folder or entry.shipped:
        return entry.folder
    module = module_file(entry.target.partition(":")[0])
    return module.parent if module else None


def _stores(data_root: Path) -> list[Path]:
    return [path.parent for path in data_root.glob("*/meta.json")]


@contextmanager
def naming(names: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Say which clips a divergence met, in a block that knows them by `blind_names` only.

    Args:
        names: Gives the real names; called after the fact.
    """
    try:
        yield
    except Diverged as error:
        known = names()

        def name(found: re.Match[str]) -> str:
            return known[int(found[1])]

        clips = [_BLIND.sub(name, clip) for clip in error.clips]
        raise Diverged(_BLIND.sub(name, error.what), error.todo, error.step, clips) from None
