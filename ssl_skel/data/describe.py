"""Facts about datasets as plain dictionaries, for `data list` and `data show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ssl_skel.data.card import DatasetCard, Split
from ssl_skel.data.catalog import dataset_names
from ssl_skel.data.dataset import card_of, open_dataset
from ssl_skel.data.families import NOTES
from ssl_skel.data.outdated import outdated
from ssl_skel.data.store import Store
from ssl_skel.errors import BadData, SkelError

HISTOGRAM_BINS = 12


def list_datasets(root: Path) -> list[dict[str, Any]]:
    """One entry a registered dataset and a prepared variant of one: state, place, and how to get it.

    Args:
        root: Data root.
    """
    names = list(dataset_names())
    if root.is_dir():
        stores = sorted(path.name for path in root.iterdir() if (path / "meta.json").is_file())
        names += [name for name in stores if "+" in name and name.partition("+")[0] in names]
    return [_entry(name, root) for name in names]


def _entry(name: str, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "title": "", "state": "", "path": None, "clips": None, "classes": None,
                             "joints": None, "persons": None, "digest": None, "splits": [], "source": "",
                             "terms": "", "todo": ""}
    try:
        card = card_of(name)
        entry |= {"title": card.title, "classes": len(card.classes), "joints": card.get_layout().num_joints,
                  "persons": card.persons, "splits": list(card.splits), "source": card.source, "terms": card.terms}
        if card.generate:
            return entry | {"state": "generated"}
        store = Store.open(root / name)
        facts = {"path": str(store.path), "clips": len(store), "digest": store.digest, "todo": outdated(store, card)}
        return entry | facts | {"state": "outdated" if facts["todo"] else "prepared"}
    except SkelError as error:
        state = "damaged" if (root / name / "meta.json").exists() else "not prepared"
        state = "half prepared" if state == "not prepared" and (root / f"{name}.partial").is_dir() else state
        return entry | {"state": state if entry["title"] else "broken", "todo": str(error)}


def show_dataset(name: str, root: Path) -> dict[str, Any]:
    """Everything known of a dataset; what needs the clips only if it is prepared.

    Args:
        name: Registered name, or ``name+variant``.
        root: Data root.

    Raises:
        UnknownName: If there is no such dataset.
    """
    card = card_of(name)
    facts: dict[str, Any] = _entry(name, root) | {
        "layout": card.layout, "class_names": list(card.classes), "licence": card.licence,
        "citation": card.citation, "notes": list(card.notes), "scale": card.scale,
        "groups": {group: list(members) for group, members in card.groups.items()},
        "preprocessing": {"default": card.preprocessing,
                          "families": {family: note._asdict() for family, note in NOTES.items()}},
    }
    if facts["state"] in ("prepared", "outdated", "generated"):
        facts |= _counts(card, open_dataset(name, root).store)
    facts["splits"] = facts.get("split_counts") or [_split(split) for split in card.splits.values()]
    facts.pop("split_counts", None)
    return facts


def _counts(card: DatasetCard, store: Store) -> dict[str, Any]:
    index = store.index
    edges = np.unique(np.linspace(index["frames"].min(), index["frames"].max() + 1, HISTOGRAM_BINS + 1).round())
    counts, edges = np.histogram(index["frames"], bins=edges.astype(int))
    return {
        "clips": len(store), "digest": store.digest, "origin": store.meta["origin"], "raw": store.meta["raw"],
        "created_by": store.meta["created_by"], "report": store.meta["report"],
        "frames": {"total": int(index["frames"].sum(dtype=np.int64)), "min": int(index["frames"].min()),
                   "median": float(np.median(index["frames"])), "max": int(index["frames"].max()),
                   "histogram": [{"from": int(low), "below": int(high), "clips": int(count)}
                                 for low, high, count in zip(edges[:-1], edges[1:], counts)]},
        "per_class": [int(count) for count in np.bincount(np.maximum(index["label"], 0), minlength=len(card.classes))],
        "per_subject": _tally(index["subject"]), "per_view": _tally(index["view"]),
        "per_persons": _tally(index["num_tracks"]),
        "split_counts": [_split(split, store) for split in card.splits.values()],
    }


def _tally(values: Any) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return {str(value): int(count) for value, count in zip(found, counts)}


def _split(split: Split, store: Store | None = None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": split.name, "description": split.description, "expected": split.expected,
        "held_out": list(split.held_out), "known_leak": split.known_leak, "clean_twin": split.clean_twin,
        "published": split.published,
    }
    if store is None:
        return facts
    try:
        parts = split.apply(store.index)
    except BadData as error:
        return facts | {"problem": str(error)}
    return facts | {"train": len(parts.train), "val": int(parts.val.sum()), "test": len(parts.test),
                    "complete": split.is_complete(parts)}
