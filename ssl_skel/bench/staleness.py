"""Which records were made by code or data that the registry no longer gives, found without importing torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ssl_skel import ids
from ssl_skel.bench.record import Record
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.joints import VERSION
from ssl_skel.errors import SkelError
from ssl_skel.registry import Catalogue


def core_digest(backbone: str, backbone_version: int, evaluator: str, evaluator_version: int,
                preprocessing_version: int, code: tuple[str, str] = ("", ""), joints: int | None = None) -> str:
    """Digest of the versions of everything outside the plugin that a number depends on.

    Args:
        backbone: Its name.
        backbone_version: Its version.
        evaluator: Its name.
        evaluator_version: Its version.
        preprocessing_version: Of the family.
        code: `Entry.outside_code` of backbone and evaluator; both are empty where the suite ships them.
        joints: Version of the joint mapping of a transfer, if there is one.
    """
    return ids.digest([ids.CORE_NUMERICS, backbone, backbone_version, evaluator, evaluator_version,
                       preprocessing_version, *([list(code)] if any(code) else []),
                       *([] if joints is None else [{"joints": joints}])])


def current_digests(record: Record, catalogue: Catalogue) -> dict[str, str]:
    """Digests that a record of the same cell would carry today, as far as the code says.

    Args:
        record: A record.
        catalogue: The registry.

    Returns:
        ``plugin`` and ``core``; a part that is not registered any more is "absent".
    """
    cell = record.cell
    try:
        plugin = catalogue.get("plugins", cell.plugin).digest()
    except SkelError:
        plugin = "absent"
    try:
        backbone, evaluator = catalogue.get("backbones", cell.backbone), catalogue.get("evaluators", cell.evaluator)
        core = core_digest(
            cell.backbone, backbone.version or 1, cell.evaluator, evaluator.version or 1,
            int(record.config["preprocessing"]["version"]), (backbone.outside_code(), evaluator.outside_code()),
            VERSION if "joints" in record.config else None)
    except (SkelError, KeyError, TypeError, ValueError):
        core = "absent"
    return {"plugin": plugin, "core": core}


def digests_of_today(catalogue: Catalogue) -> Callable[[Record], Mapping[str, str]]:
    """Return `current_digests` with this registry, found once for records of the same code."""
    known: dict[tuple[str, ...], Mapping[str, str]] = {}

    def current(record: Record) -> Mapping[str, str]:
        cell = record.cell
        key = (cell.plugin, cell.backbone, cell.evaluator, json.dumps(record.config.get("preprocessing")),
               str("joints" in record.config))
        if key not in known:
            known[key] = current_digests(record, catalogue)
        return known[key]

    return current


def stale_parts(record: Record, catalogue: Catalogue) -> list[str]:
    """Name the parts of a record that have changed since it was made."""
    now = current_digests(record, catalogue)
    return [part for part, value in now.items() if getattr(record.digests, part) != value]


def stale_ids(store: RecordStore, catalogue: Catalogue) -> set[str]:
    """Ids of the stale records of an output folder."""
    return {record.id for record in store.all() if stale_parts(record, catalogue)}
