"""Two methods, clip by clip: paired bootstrap and McNemar on stored predictions, on each test set and over all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ssl_skel.bench import stats
from ssl_skel.bench.pairing import ClipSet, Ints, JoinedSet, join_shared
from ssl_skel.bench.record import CellKey, Record
from ssl_skel.bench.store import ID, RecordStore
from ssl_skel.errors import UnknownName, UsageMistake
from ssl_skel.seed import derive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Place = tuple[str, str, str]
Seeds = dict[int, Record]
SubjectsOf = Callable[[str, tuple[str, ...]], Ints]
"""Dataset and its clips' names -> (n,) performer ids."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A against B on one test set under one protocol; fractions.

    Attributes:
        place: Dataset, split, evaluator.
        rows: What A and B stand for here.
        a: Accuracy of A, mean over the seeds that both have.
        b: Accuracy of B.
        found: Difference with its paired bootstrap interval and p-value.
        mcnemar: One a seed.
        p_holm: McNemar's smallest exact p-value over the seeds, times their number, then adjusted (Holm) for the
            number of test sets.
        resolvable: Smallest difference that these clips can tell, the methods disagreeing as they do.
        by_subject: The difference with an interval over whole subjects, where subjects were given.
        ranked_by: The metric that boards rank this protocol by; what is compared is always top-1.
    """

    place: Place
    rows: tuple[str, str]
    seeds: tuple[int, ...]
    n: int
    a: float
    b: float
    found: stats.Difference
    mcnemar: tuple[stats.McNemar, ...]
    p_holm: float
    resolvable: float
    by_subject: stats.SubjectDifference | None = None
    ranked_by: str = "top1"


@dataclass(frozen=True, slots=True)
class Overall:
    """A against B over several test sets under one protocol.

    Attributes:
        found: Mean difference; test sets that share clips are joined first, and each clip of them counts once.
        splits: Number of splits that went in.
        sets: Number of test sets that they make when those that share clips are joined.
        clips: Number of different clips.
        resolvable: Smallest difference that these clips can tell, half the width of the interval.
        by_subject: The mean difference with an interval over whole subjects, where subjects were given.
    """

    found: stats.Difference
    splits: int
    sets: int
    clips: int
    resolvable: float
    by_subject: stats.SubjectDifference | None = None


@dataclass(frozen=True, slots=True)
class Comparisons:
    """All test sets, and for each protocol the mean difference over the test sets (where there are several)."""

    each: tuple[Comparison, ...]
    over_all: dict[str, Overall]


def compare(store: RecordStore, one: str, other: str, records: Sequence[Record],
            subjects_of: SubjectsOf | None = None) -> Comparisons:
    """Compare two rows wherever both were run.

    Args:
        store: For the predictions.
        one: A record id, or a plugin, then after colons what else its row must have: label, backbone, streams or
            fusion (``colorization:temporal+spatial:concat``).
        other: The same.
        records: Those to look at.
        subjects_of: Performers of a dataset's clips; with it, whole subjects are resampled, too.

    Raises:
        UnknownName: If no record fits.
        UsageMistake: If several rows fit on one test set, or the two share no test set.
        BadRecord: If predictions are missing or changed.
        SkelError: If a test set has one subject only, or what `subjects_of` raises.
    """
    a, b = _select(records, one), _select(records, other)
    shared = sorted(place for place in a if place in b and _common(a[place], b[place]))
    if not shared:
        raise UsageMistake(f"{one!r} and {other!r} have no dataset, split, evaluator and seed in common")
    sets, drafts = {}, []
    for place in shared:
        clips, pairs = _pairs(store, a[place], b[place], one, other)
        who = subjects_of(place[0], clips) if subjects_of else None
        sets[place] = ClipSet(place[0], clips, *_means(pairs), who)
        drafts.append(_compare(place, a[place], b[place], pairs, sets[place]))
    adjusted = stats.holm([draft.p_holm for draft in drafts]).tolist()
    each = tuple(replace(draft, p_holm=p) for draft, p in zip(drafts, adjusted))
    return Comparisons(each, _over_all(sets, one, other))


def _select(records: Sequence[Record], wanted: str) -> dict[Place, Seeds]:
    """Records of one row on each test set, by seed."""
    fits = [record for record in records if _fits(record, wanted)]
    if not fits:
        raise UnknownName("row", wanted, {record.cell.plugin for record in records})
    found: dict[Place, dict[CellKey, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in fits:
        cell = record.cell
        row = cell.model_copy(update={"seed": 0})
        found[cell.dataset, cell.split, cell.evaluator][row].append(record)
    return {place: _by_seed(_only_row(place, rows, wanted), wanted) for place, rows in found.items()}


def _only_row(place: Place, rows: dict[CellKey, list[Record]], wanted: str) -> list[Record]:
    """The row that is meant: the one that fits, or among several the one whose entry of the suite has no label."""
    plain = [found for row, found in rows.items() if not row.label]
    left = plain if len(plain) == 1 else list(rows.values())
    if len(left) > 1:
        names = "; ".join(sorted(_name(row) for row in rows))
        raise UsageMistake(f"{wanted!r} fits several rows of {' '.join(place)}: {names}",
                           "Add the label, backbone, streams or fusion after a colon.")
    return left[0]


def _by_seed(row: list[Record], wanted: str) -> Seeds:
    seeds: Seeds = {}
    for record in row:
        seed = record.cell.seed
        if seed in seeds:
            raise UsageMistake(f"{wanted!r} fits records {seeds[seed].id} and {record.id} of one seed, whose "
                               "configurations differ", "Choose a suite with --suite, or give the ids of two records.")
        seeds[seed] = record
    return seeds


def _fits(record: Record, wanted: str) -> bool:
    if ID.match(wanted):
        return record.id == wanted
    cell = record.cell
    plugin, *rest = wanted.split(":")
    return cell.plugin == plugin and all(
        part in (cell.label, cell.backbone, cell.streams, cell.fusion, cell.pretrained_on) for part in rest)


def _name(cell: CellKey) -> str:
    fusion = cell.fusion if cell.fusion != "single" else ""
    parts = (cell.plugin, cell.label, cell.backbone, cell.streams, fusion, cell.pretrained_on)
    return ":".join(part for part in parts if part)


def _common(a: Seeds, b: Seeds) -> list[int]:
    return sorted(set(a) & set(b))


def _pairs(store: RecordStore, a: Seeds, b: Seeds, one: str,
           other: str) -> tuple[tuple[str, ...], list[tuple[Any, Any]]]:
    """Names of the clips, and (A is right, B is right) of each seed that both have."""
    pairs, clips = [], None
    for seed in _common(a, b):
        mine, theirs = store.read_predictions(a[seed]), store.read_predictions(b[seed])
        clips = clips or mine.clips
        if not clips == mine.clips == theirs.clips:
            raise UsageMistake(f"{one!r} and {other!r} were tested on different clips (records {a[seed].id} and "
                               f"{b[seed].id})", "Compare records of one dataset version and split.")
        pairs.append((mine.correct, theirs.correct))
    return clips or (), pairs


def _means(pairs: list[tuple[Any, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of seeds that are right, for A and B."""
    import numpy as np

    return np.mean([a for a, _ in pairs], axis=0), np.mean([b for _, b in pairs], axis=0)


def _compare(place: Place, a: Seeds, b: Seeds, pairs: list[tuple[Any, Any]], clips: ClipSet) -> Comparison:
    tests = tuple(stats.mcnemar(*pair) for pair in pairs)
    seeds = tuple(_common(a, b))
    seed = _seed(*(a[s].id for s in seeds), *(b[s].id for s in seeds))
    found = stats.paired_bootstrap(clips.a, clips.b, seed)
    resolvable = max(stats.smallest_difference(*pair) for pair in pairs)
    smallest = min(1.0, min(test.p_exact for test in tests) * len(tests))
    rows = (_name(a[seeds[0]].cell), _name(b[seeds[0]].cell))
    return Comparison(place, rows, seeds, len(clips.a), float(clips.a.mean()), float(clips.b.mean()), found, tests,
                      smallest, resolvable, _by_subject([clips]), a[seeds[0]].primary)


def _by_subject(sets: Sequence[ClipSet | JoinedSet]) -> stats.SubjectDifference | None:
    """Over whole subjects; the same number in two datasets is two performers."""
    datasets = sorted({one.dataset for one in sets})
    groups = [(one.a, one.b, one.subjects * len(datasets) + datasets.index(one.dataset))
              for one in sets if one.subjects is not None]
    return stats.paired_subjects(groups) if groups else None


def _over_all(sets: dict[Place, ClipSet], one: str, other: str) -> dict[str, Overall]:
    by_protocol: dict[str, list[ClipSet]] = defaultdict(list)
    for (_, _, evaluator), found in sets.items():
        by_protocol[evaluator].append(found)
    return {evaluator: _overall(group, _seed(one, other, evaluator))
            for evaluator, group in by_protocol.items() if len(group) > 1}


def _overall(group: list[ClipSet], seed: int) -> Overall:
    joined = join_shared(group)
    found = stats.over_datasets([both.pair for both in joined], seed)
    return Overall(found, len(group), len(joined), sum(len(both.a) for both in joined), (found.high - found.low) / 2,
                   _by_subject(joined))


def _seed(*names: str) -> int:
    return derive(0, "compare", *names)
