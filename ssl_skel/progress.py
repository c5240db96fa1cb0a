"""Progress of long loops, told to whoever listens: a loop says `track`, a worker says `reporting`.

It rides on a context variable, so that evaluators, which only get a context of data, show how far they are too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T", bound=Sized)

Told = Callable[[dict[str, Any]], None]

EVERY_S = 0.5
"""Seconds between two reports of a loop."""

_told: ContextVar[Told | None] = ContextVar("told", default=None)


@contextmanager
def reporting(told: Told) -> Iterator[None]:
    """Have the loops inside report.

    Args:
        told: Called at most twice a second with ``step``, ``total`` and ``samples_per_s``.
    """
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


def track(batches: Iterable[T], total: int) -> Iterator[T]:
    """Walk through batches of clips and report how far it has come.

    Args:
        batches: Each as long as it has clips.
        total: Clips in all.
    """
    told, began, said, done = _told.get(), time.monotonic(), 0.0, 0
    for batch in batches:
        yield batch
        done += len(batch)
        now = time.monotonic()
        if told and now - said > EVERY_S:
            said = now
            told({"step": done, "total": total, "samples_per_s": done / max(1e-9, now - began)})
