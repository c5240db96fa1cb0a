"""Wording that several commands share."""

from __future__ import annotations


def dropped_line(rule: str, count: int) -> str:
    """Say how much a rule of `data prepare` left out; its name says of what (see `readers.base.Dropped`)."""
    what = rule.partition("-")[0]
    if what == "frame":
        return f"frames of {count} clips dropped: {rule}"
    return f"{count} {'bodies' if what == 'body' else 'clips'} dropped: {rule}"
