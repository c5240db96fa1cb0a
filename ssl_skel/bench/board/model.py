"""What a board is made of. Numbers are fractions here; percent is a matter of rendering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ssl_skel.bench.published import PublishedRow
from ssl_skel.bench.record import Record, method_name

FLOOR = "random"
"""The plugin whose untrained, frozen encoder is the floor, and which, fine-tuned with all labels, is the ceiling."""

RAW = "raw"
"""The backbone that hands the joints on as they are."""

Role = Literal["ranked", "floor", "ceiling", "raw", "diagnostic"]
"""``raw``: joints without an encoder; ``diagnostic``: chosen on the test part, or a check of the suite itself."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval: over ``seeds`` (Student's t) or, with one seed, over test ``clips`` (bootstrap)."""

    low: float
    high: float
    over: Literal["seeds", "clips"]


@dataclass(frozen=True, slots=True)
class Delta:
    """Difference to a baseline row; the interval is a paired bootstrap over clips, if predictions allow it.

    Attributes:
        p: Two-sided p-value of no difference, of that bootstrap.
        p_holm: The same, corrected for the number of comparisons in the track.
    """

    value: float
    against: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def clear(self) -> bool:
        """Whether it is significant at 5 % after correction."""
        p = self.p if self.p_holm is None else self.p_holm
        return p is not None and p < 0.05


@dataclass(frozen=True, slots=True)
class Sanity:
    """What probes that were trained on shuffled labels got right.

    Attributes:
        mean: Of their accuracies.
        highest: Of their accuracies.
        chance: One over the number of classes.
        probes: Their number.
        p: Smallest p-value of knowing the classes, corrected for their number (Holm).
        failed: Whether one of them knows the classes.
    """

    mean: float
    highest: float
    chance: float
    probes: int
    p: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """Means over seeds of what was measured; None where nothing was."""

    params: float | None = None
    hours: float | None = None
    samples_per_s: float | None = None
    peak_mb: float | None = None
    flops: float | None = None
    energy_kj: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A planned seed without a record, and why, if a failure says so."""

    seed: int
    reason: str = ""


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """What tells rows of a table apart."""

    plugin: str
    label: str
    backbone: str
    streams: str
    fusion: str
    pretrained_on: str = ""

    @property
    def method(self) -> str:
        """The name for people; it says what was pretrained on, if that is not the table's own training part."""
        name = method_name(self.plugin, self.label)
        return f"{name}, {self.origin}" if self.origin else name

    @property
    def origin(self) -> str:
        """What other data its encoder is from; the floor is never trained, so only its shape comes from there."""
        if not self.pretrained_on:
            return ""
        return f"{'encoder shaped for' if self.plugin == FLOOR else 'pretrained on'} {self.pretrained_on}"


@dataclass(frozen=True, slots=True)
class Row:
    """One method in one setting, over its seeds.

    Attributes:
        variant: In what it differs from a row of the same key (a setting, older code), in words.
        family: Of the plugin.
        records: Sorted by seed; empty where nothing finished.
        mean: Of the primary metric over seeds.
        sd: Over seeds; None with one.
        metrics: Means of the other metrics.
        rank: Competition rank among the complete rows of its track; None where it is not ranked.
        even: Not clearly worse than the first of its track, by paired bootstrap over clips.
        stale: Parts that have changed since it was computed.
        missing: Planned seeds without a record.
        evaluator: Set where the row comes from another protocol than the table's (the ceiling).
    """

    key: RowKey
    variant: str = ""
    family: str = ""
    records: tuple[Record, ...] = ()
    mean: float | None = None
    sd: float | None = None
    interval: Interval | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    cost: Cost = Cost()
    role: Role = "ranked"
    rank: int | None = None
    even: bool = False
    delta: Delta | None = None
    stale: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    evaluator: str = ""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have a record."""
        return tuple(record.cell.seed for record in self.records)


@dataclass(frozen=True, slots=True)
class Track:
    """Rows that may be ranked together.

    Attributes:
        name: A, B, ...; A is the largest.
        differs: In what it differs from track A, in words; empty for A.
        conditions: What all its rows have in common.
    """

    name: str
    rows: tuple[Row, ...]
    differs: tuple[str, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """One dataset and split under one protocol.

    Attributes:
        metric: The primary one.
        n_test: Test clips of track A.
        hidden: Incomplete rows that are not shown.
        sanity: Of the label-shuffled probes on the same data; None where none was run.
        diagnostic: Whether this is a check, of which nothing is ranked.
    """

    dataset: str
    split: str
    evaluator: str
    metric: str
    n_test: int
    tracks: tuple[Track, ...]
    published: tuple[PublishedRow, ...] = ()
    hidden: int = 0
    sanity: Sanity | None = None
    diagnostic: bool = False

    @property
    def title(self) -> str:
        """Heading."""
        return f"{self.dataset} {self.split}, {self.evaluator}"

    @property
    def slug(self) -> str:
        """Anchor."""
        return f"{self.dataset}-{self.split}-{self.evaluator}"

    def rows(self) -> Iterator[Row]:
        """All rows of all tracks."""
        for track in self.tracks:
            yield from track.rows


@dataclass(frozen=True, slots=True)
class Board:
    """A rendered comparison.

    Attributes:
        name: Of the suite, or ``all``.
        record_ids: Of every record that went in, sorted.
        incomplete: Whether incomplete rows are shown.
    """

    name: str
    title: str
    baseline: str
    tables: tuple[Table, ...]
    record_ids: tuple[str, ...]
    incomplete: bool = False
