"""Which records were made by code or data that the registry no longer gives, found without importing torch."""

from __future__ import annotations

from ssl_skel import ids
from ssl_skel.bench.record import Record
from ssl_skel.bench.store import RecordStore
from ssl_skel.errors import SkelError
from ssl_skel.registry import Catalogue, static_version


def core_digest(backbone: str, backbone_version: int, evaluator: str, evaluator_version: int,
                preprocessing_version: int) -> str:
    """Digest of the versions of everything outside the plugin that a number depends on."""
    return ids.digest([ids.CORE_NUMERICS, backbone, backbone_version, evaluator, evaluator_version,
                       preprocessing_version])


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
        core = core_digest(
            cell.backbone, static_version(catalogue.get("backbones", cell.backbone).target), cell.evaluator,
            static_version(catalogue.get("evaluators", cell.evaluator).target),
            int(record.config["preprocessing"]["version"]))
    except (SkelError, KeyError, TypeError, ValueError):
        core = "absent"
    return {"plugin": plugin, "core": core}


def stale_parts(record: Record, catalogue: Catalogue) -> list[str]:
    """Name the parts of a record that have changed since it was made."""
    now = current_digests(record, catalogue)
    return [part for part, value in now.items() if getattr(record.digests, part) != value]


def stale_ids(store: RecordStore, catalogue: Catalogue) -> set[str]:
    """Ids of the stale records of an output folder."""
    return {record.id for record in store.all() if stale_parts(record, catalogue)}
