"""Numbers that others published, with source and trust grade; shown beside ours, never ranked with them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ssl_skel.registry import bundled_root
from ssl_skel.schema import Model, Name, Text
from ssl_skel.yamlio import load_yaml, validate

Trust = Literal["A", "B", "C", "X", "M"]
SHOWN = ("A", "B", "C")
"""Grades that a board shows; X is known to be mislabelled, M was remembered and not read."""

PROTOCOL_OF = {"linear-sgd": "linear"}
"""Our evaluators that follow a published protocol under another name."""

Percent = Annotated[float, Field(ge=0, le=100)]


class PublishedValue(Model):
    """One printed number.

    Attributes:
        at: ``dataset/split`` in our names.
        value: Percent.
        pretrained_on: Source dataset of a transfer.
        variant: In what the test set differs from the usual one, if it does.
        groups: Independent groups that print it.
        also: Further sources with the same number.
        conflicts: Other numbers printed for the same thing.
    """

    at: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]
    value: Percent
    pretrained_on: Name | None = None
    variant: str = ""
    groups: int = Field(1, ge=1)
    also: tuple[Name, ...] = ()
    conflicts: tuple[Percent, ...] = ()
    notes: Text = ""


class PublishedGroup(Model):
    """What one source prints for one method in one setting."""

    method: str
    venue: str = ""
    year: int | None = None
    backbone: str = ""
    streams: str
    fusion: str
    protocol: Name
    metric: str = "top1"
    source: Name
    trust: Trust
    notes: Text = ""
    values: tuple[PublishedValue, ...] = Field(min_length=1)


class Conflict(Model):
    """Where sources disagree, in words."""

    what: str
    own: str = ""
    others: str


class PublishedIntervals(Model):
    """Confidence intervals that a paper prints, percent."""

    source: str
    values: dict[str, tuple[Percent, Percent]]


class PublishedFile(Model):
    """`leaderboards/published.yaml`."""

    schema_: Literal[1] = Field(1, alias="schema")
    trust: dict[Trust, str]
    streams: dict[str, str]
    caveats: tuple[Text, ...]
    intervals: tuple[PublishedIntervals, ...]
    conflicts: tuple[Conflict, ...]
    sources: dict[Name, str]
    results: tuple[PublishedGroup, ...]

    @model_validator(mode="after")
    def _sources_exist(self) -> PublishedFile:
        for group in self.results:
            for name in (group.source, *(name for value in group.values for name in value.also)):
                if name not in self.sources:
                    raise ValueError(f"{group.method}: source {name!r} is not described")
        return self


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published number as a board shows it; `value` in percent."""

    method: str
    venue: str
    backbone: str
    streams: str
    fusion: str
    value: float
    source: str
    trust: str
    groups: int
    notes: str


def load_published(path: Path | None = None) -> PublishedFile:
    """Read the published numbers.

    Args:
        path: A file of that format; None takes the one shipped with the suite.

    Raises:
        BadCard: If the file is missing or does not validate.
    """
    if path is None:
        return _shipped()
    return validate(PublishedFile, load_yaml(path), str(path))


@functools.cache
def _shipped() -> PublishedFile:
    root = bundled_root()
    packed = root / "published.yaml"
    return load_published(packed if packed.is_file() else root / "leaderboards" / "published.yaml")


def published_rows(file: PublishedFile, dataset: str, split: str, evaluator: str) -> list[PublishedRow]:
    """Published top-1 numbers of one board table, best first; mislabelled and remembered ones are left out.

    Args:
        file: From `load_published`.
        dataset: Our name.
        split: Our name.
        evaluator: Ours; a published protocol is matched by `PROTOCOL_OF`.
    """
    protocol = PROTOCOL_OF.get(evaluator, evaluator)
    rows = [_row(file, group, value) for group in file.results for value in group.values
            if value.at == f"{dataset}/{split}" and group.protocol == protocol and group.metric == "top1"
            and group.trust in SHOWN]
    return sorted(rows, key=lambda row: (-row.value, row.method, row.streams, row.source))


def _row(file: PublishedFile, group: PublishedGroup, value: PublishedValue) -> PublishedRow:
    conflicts = "elsewhere " + ", ".join(f"{other:g}" for other in value.conflicts) if value.conflicts else ""
    pretrained = f"pretrained on {value.pretrained_on}" if value.pretrained_on else ""
    texts = (value.variant, pretrained, conflicts, group.notes, value.notes)
    notes = "; ".join(text for text in texts if text)
    venue = " ".join(str(part) for part in (group.venue, group.year) if part)
    return PublishedRow(group.method, venue, group.backbone, group.streams, group.fusion, value.value,
                        file.sources[group.source], group.trust, value.groups, notes)
