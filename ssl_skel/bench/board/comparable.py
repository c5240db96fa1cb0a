"""What must be equal before two rows may be ranked together, and in what they differ otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ssl_skel.bench.record import Record
from ssl_skel.ids import canonical, digest

BUDGET = "budget"
PRETRAINED_ON = "pretraining data"
ABSENT = {PRETRAINED_ON: "its own training part"}
"""What is meant by a condition that a record does not have, where that is not nothing."""
SHORT = 60


def untrained(record: Record) -> bool:
    """Whether the encoder was never trained, so that no budget applies to it."""
    train = record.config.get("train")
    epochs = train.get("epochs") if isinstance(train, Mapping) else None
    return epochs == 0 or record.cost.get("steps") == 0


def conditions(record: Record) -> dict[str, str]:
    """Name what a number depends on besides the method, as short text by what it is."""
    train = record.config.get("train")
    train = train if isinstance(train, Mapping) else {}
    found = {
        "preprocessing": _preprocessing(record.config.get("preprocessing")),
        "frames": _short(record.config.get("frames")),
        "data": record.digests.dataset[:8],
        "split digest": record.digests.split[:8],
        "training clips": str(record.n.train),
        "test clips": str(record.n.test),
        "classes": str(record.num_classes),
        "protocol version": _short(record.versions.get("evaluator")),
        "protocol settings": _short(record.config.get("evaluator") or "defaults"),
        "core version": _short(record.versions.get("core")),
    }
    if record.modality != "joints":
        found["modality"] = record.modality
    if record.cell.pretrained_on:
        found[PRETRAINED_ON] = record.cell.pretrained_on
    if not untrained(record):
        steps = train.get("max_steps")
        epochs = train.get("epochs")
        found[BUDGET] = f"{_short(epochs)} epoch{'s' if epochs != 1 else ''}"
        found[BUDGET] += f", at most {_short(steps)} steps" if steps else ""
    return found


def facts(records: Iterable[Record]) -> dict[str, str]:
    """What else rows of equal data have in common, as far as the records say; it follows from their conditions."""
    persons = {record.persons for record in records if record.persons is not None}
    return {"persons": f"up to {max(persons)}" if max(persons) > 1 else "1"} if persons else {}


def same_test(one: Record, other: Record) -> bool:
    """Whether two records were tested on the same clips of the same data."""
    return (one.digests.split == other.digests.split and one.digests.dataset == other.digests.dataset
            and one.n.test == other.n.test)


def group_comparable(records: Sequence[Record]) -> list[tuple[dict[str, str], list[int]]]:
    """Group records, each standing for a row, by their conditions.

    Untrained ones have no budget and join the largest group that agrees in everything else.

    Returns:
        Conditions and positions of each group; the largest first, of equal ones that which was pretrained on its own
        split.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    shared: dict[str, dict[str, str]] = {}
    found = [conditions(record) for record in records]
    for position, one in enumerate(found):
        if BUDGET in one:
            groups[canonical(one)].append(position)
            shared[canonical(one)] = one
    trained = sorted(groups, key=lambda text: (-len(groups[text]), text))
    for position, one in enumerate(found):
        if BUDGET not in one:
            home = next((text for text in trained if _without_budget(shared[text]) == one), canonical(one))
            groups[home].append(position)
            shared.setdefault(home, one)
    order = sorted(groups, key=lambda text: (-len(groups[text]), PRETRAINED_ON in shared[text], text))
    return [(shared[text], groups[text]) for text in order]


def differences(one: Mapping[str, str], main: Mapping[str, str]) -> tuple[str, ...]:
    """Say in what a group differs from the main one, as ``frames 20 instead of 40``."""
    names = [*main, *(name for name in one if name not in main)]
    return tuple(f"{name} {_said(one, name)} instead of {_said(main, name)}" for name in names
                 if one.get(name) != main.get(name) and (name in one or name in ABSENT))


def _said(found: Mapping[str, str], name: str) -> str:
    return found.get(name, ABSENT.get(name, "none"))


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found.update(flat(item, f"{prefix}.{key}" if prefix else str(key)))
    return found


def differing_keys(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Dotted keys in which configurations differ, sorted."""
    tables = [flat(config) for config in configs]
    keys = sorted({key for table in tables for key in table})
    return [key for key in keys if len({canonical(table.get(key)) for table in tables}) > 1]


def _without_budget(found: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in found.items() if name != BUDGET}


def _preprocessing(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return _short(f"{value['name']} v{value.get('version', '?')}")
    return _short(value)


def _short(value: Any) -> str:
    """Text that is equal for equal values only, however long they are."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {_short(item)}" for key, item in sorted(flat(value).items()))
    else:
        text = str(value)
    return text if len(text) <= SHORT else f"{text[:SHORT // 2]}… ({digest(text)[:8]})"
