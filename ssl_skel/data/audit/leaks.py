"""What training and test parts share that they should not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.audit.blocks import Ints
from ssl_skel.data.audit.hashes import StoreHashes, shared_rows
from ssl_skel.data.audit.near import NearPairs
from ssl_skel.data.card import Index, Parts, Split
from ssl_skel.data.store import Store
from ssl_skel.errors import BadData

LISTED = 200
"""At most so many clips or pairs are listed; the counts are of all."""


def audit_split(store: Store, split: Split, hashes: StoreHashes, groups: list[list[int]],
                near: NearPairs) -> dict[str, Any]:
    """Look for everything that the parts of a split share.

    Args:
        store: An open store.
        split: Of its dataset.
        hashes: Of the store.
        groups: Clips that are bit-identical.
        near: Clips that nearly are.

    Returns:
        Counts, and the worst by name; ``problem`` if the split can't be applied.
    """
    facts: dict[str, Any] = {"name": split.name, "known_leak": split.known_leak, "clean_twin": split.clean_twin}
    try:
        parts = split.apply(store.index)
    except BadData as error:
        return facts | {"problem": error.what}
    part = np.zeros(len(store), np.int8)
    part[parts.train], part[parts.test] = 1, 2
    copies = _copies(groups, part)
    shared = shared_rows(store, hashes.rows, parts.train, parts.test)
    shared[np.isin(parts.test, [test for test, _ in copies])] = 0
    names, length = store.names, _rows_of(store, parts.test)
    order = np.argsort(-shared, kind="stable")[:LISTED]
    return facts | {
        "train": len(parts.train), "test": len(parts.test),
        "duplicates": {"test_clips": len(copies),
                       "pairs": [[names[test], names[train]] for test, train in copies[:LISTED]]},
        "shared_frames": {"test_clips": int((shared > 0).sum()), "rows": int(shared.sum()),
                          "worst": [[names[parts.test[i]], int(shared[i]), int(length[i])]
                                    for i in order.tolist() if shared[i]]},
        "near": _near(near, part, groups, names),
        "overlap": _overlap(store.index, split, parts),
    }


def _copies(groups: list[list[int]], part: NDArray[np.int8]) -> list[tuple[int, int]]:
    """(test clip, a training clip that is the same) pairs, one for each such test clip."""
    found = []
    for group in groups:
        train = [clip for clip in group if part[clip] == 1]
        found += [(clip, train[0]) for clip in group if part[clip] == 2 and train]
    return sorted(found)


def _rows_of(store: Store, clips: Ints) -> Ints:
    total = np.bincount(store.tracks["clip"], store.tracks["length"], minlength=len(store))
    return total[clips].astype(np.int64)


def _near(near: NearPairs, part: NDArray[np.int8], groups: list[list[int]], names: list[str]) -> dict[str, Any]:
    group_of = {clip: number for number, group in enumerate(groups) for clip in group}
    pairs = []
    for a, b, distance in zip(near.first.tolist(), near.second.tolist(), near.distance.tolist()):
        if {part[a], part[b]} == {1, 2} and (a not in group_of or group_of[a] != group_of.get(b)):
            test, train = (a, b) if part[a] == 2 else (b, a)
            pairs.append((test, train, distance))
    listed = [[names[test], names[train], round(distance, 5)] for test, train, distance in pairs[:LISTED]]
    return {"test_clips": len({test for test, _, _ in pairs}), "pairs": listed}


def _overlap(index: Index, split: Split, parts: Parts) -> dict[str, Any]:
    """Values of the column that the split promises to be disjoint by, found in both parts."""
    column = split.disjoint_by
    if not column:
        return {"column": "", "values": [], "test_clips": 0}
    both = np.intersect1d(index[column][parts.train], index[column][parts.test])
    clips = int(np.isin(index[column][parts.test], both).sum())
    return {"column": column, "values": both.tolist(), "test_clips": clips}


def audit_transfer(pretrain: Store, pretrain_splits: Iterable[Split], hashes: StoreHashes, test: Store,
                   test_splits: Iterable[Split], test_hashes: StoreHashes) -> list[dict[str, Any]]:
    """Find test clips of one dataset among the training clips of another, by name and by content.

    Returns:
        One entry for each pair of splits: counts, and the first such clips.
    """
    found = []
    for ours in pretrain_splits:
        train = ours.select(pretrain.index)[0]
        names, content = pretrain.index["name"][train], hashes.clips[train]
        for theirs in test_splits:
            tested = theirs.select(test.index)[1]
            same_name = np.isin(test.index["name"], names) & tested
            same_content = np.isin(test_hashes.clips, content) & tested
            either = test.index["name"][same_name | same_content]
            found.append({"pretrain_split": ours.name, "test_split": theirs.name, "test": int(tested.sum()),
                          "same_name": int(same_name.sum()), "same_content": int(same_content.sum()),
                          "clips": [name.decode() for name in either[:LISTED].tolist()]})
    return found
