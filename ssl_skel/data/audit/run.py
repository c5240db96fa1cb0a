"""The whole audit of a dataset, as one dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ssl_skel.data.audit.hashes import StoreHashes, duplicate_groups, hash_store
from ssl_skel.data.audit.leaks import LISTED, audit_split, audit_transfer
from ssl_skel.data.audit.names import check_names
from ssl_skel.data.audit.near import NearPairs, near_pairs
from ssl_skel.data.audit.quality import CHECKS, measure_store
from ssl_skel.data.dataset import Dataset
from ssl_skel.data.seen import unseen

NEAR_METRES = 0.03
"""Half of the distance of the two most alike different performances of NW-UCLA (0.059 m)."""

SCHEMA = 1


def audit_dataset(name: str, dataset: Dataset, against: tuple[str, Dataset] | None = None,
                  stage: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Audit a dataset.

    Args:
        name: Of the dataset, with the suffix of a variant.
        dataset: Opened.
        against: Name and dataset on which its encoders shall be tested.
        stage: Told what is being looked at.

    Returns:
        JSON: ``splits``, ``duplicates`` and ``near`` (in the whole dataset), ``names``, ``checks``, ``against``,
        ``unseen`` (joints that preprocessing goes by), and ``findings``, one line each.
    """
    store, card = dataset.store, dataset.card
    stage("hashing every frame")
    hashes = hash_store(store)
    groups = duplicate_groups(store, hashes.clips)
    stage("comparing all pairs of clips")
    near = near_pairs(store, NEAR_METRES, card.scale)
    stage("measuring every clip")
    checks = _checks(dataset)
    stage("comparing training and test parts")
    names = store.names
    report: dict[str, Any] = {
        "schema": SCHEMA, "dataset": name, "digest": store.digest, "clips": len(store), "near_metres": NEAR_METRES,
        "splits": [audit_split(store, split, hashes, groups, near) for split in card.splits.values()],
        "duplicates": {"clips": sum(map(len, groups)), "groups": [[names[clip] for clip in group]
                                                                  for group in groups[:LISTED]]},
        "near": _near(near, groups, names), "names": check_names(store), "checks": checks,
        "against": _against(against, dataset, hashes), "unseen": unseen(store),
    }
    report["findings"] = findings(report)
    return report


def _checks(dataset: Dataset) -> list[dict[str, Any]]:
    measured, names = measure_store(dataset.store, dataset.card.scale), dataset.store.names
    found = []
    for check in CHECKS:
        values = measured[check.name]
        order = np.argsort(-values, kind="stable")[:LISTED]
        found.append({"name": check.name, "what": check.what, "limit": check.limit,
                      "flagged": int((values >= check.limit).sum()), "median": float(np.median(values)),
                      "worst": [[names[i], float(values[i])] for i in order.tolist() if values[i] >= check.limit]})
    return found


def _near(near: NearPairs, groups: list[list[int]], names: list[str]) -> dict[str, Any]:
    group_of = {clip: number for number, group in enumerate(groups) for clip in group}
    pairs = [[names[a], names[b], round(distance, 5)]
             for a, b, distance in zip(near.first.tolist(), near.second.tolist(), near.distance.tolist())
             if a not in group_of or group_of[a] != group_of.get(b)]
    return {"pairs": len(pairs), "capped": near.capped, "closest": pairs[:LISTED]}


def _against(against: tuple[str, Dataset] | None, dataset: Dataset, hashes: StoreHashes) -> dict[str, Any] | None:
    if against is None:
        return None
    name, other = against
    pairs = audit_transfer(dataset.store, dataset.card.splits.values(), hashes, other.store,
                           other.card.splits.values(), hash_store(other.store))
    return {"dataset": name, "digest": other.store.digest, "splits": pairs}


def findings(report: dict[str, Any]) -> list[str]:
    """Say in one line each what should be looked at."""
    lines = []
    for split in report["splits"]:
        lines += [f"split {split['name']}: {line}" for line in _split_findings(split)]
    if report["duplicates"]["clips"]:
        lines.append(f"{report['duplicates']['clips']} clips are bit-identical to another clip")
    if report["near"]["pairs"]:
        lines.append(f"{report['near']['pairs']} pairs of clips are within {report['near_metres']} m of one another")
    if report["near"]["capped"]:
        lines.append("there are too many similar clips to compare all of them in full; some near pairs may be missing")
    if report["names"]:
        lines.append(f"{len(report['names'])} times a clip's name and the index disagree")
    lines += [f"{check['name']}: {check['flagged']} of {report['clips']} clips ({check['what']})"
              for check in report["checks"] if check["flagged"]]
    if any(check["name"] == "mirrored" and check["median"] > 0 for check in report["checks"]):
        lines.append("left and right look exchanged in most clips: is the joint order right?")
    lines += report.get("unseen", [])
    for pair in (report["against"] or {"splits": []})["splits"]:
        seen = max(pair["same_name"], pair["same_content"])
        if seen:
            lines.append(f"pretraining on {pair['pretrain_split']} sees {seen} of the {pair['test']} test clips of "
                         f"{report['against']['dataset']}/{pair['test_split']}")
    return lines


def _split_findings(split: dict[str, Any]) -> list[str]:
    if "problem" in split:
        return [split["problem"]]
    lines = []
    known = " (known)" if split["known_leak"] else ""
    if count := split["duplicates"]["test_clips"]:
        lines.append(f"{count} of {split['test']} test clips are bit-identical to a training clip{known}")
    if count := split["shared_frames"]["test_clips"]:
        more = "more " if split["duplicates"]["test_clips"] else ""
        lines.append(f"{count} {more}test clips share {split['shared_frames']['rows']} frames with training "
                     f"clips{known}")
    if count := split["near"]["test_clips"]:
        lines.append(f"{count} test clips are nearly the same as a training clip")
    if values := split["overlap"]["values"]:
        listed = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
        lines.append(f"claims to be disjoint by {split['overlap']['column']}, but {listed} is in both parts "
                     f"({split['overlap']['test_clips']} test clips)")
    return lines
