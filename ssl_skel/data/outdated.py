"""Whether a store still is what its dataset's code would make of the raw files; without reading them, without torch.

A store's digest says what it holds, not that the code would make it again: a reader that was mended, or classes that
were put in another order, change nothing in a store that was prepared before.
"""

from __future__ import annotations

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.catalog import load_target
from ssl_skel.data.store import Store


def outdated(store: Store, card: DatasetCard) -> str:
    """Why a store should be prepared again, in one line; empty where nothing says so.

    Args:
        store: Prepared, imported or generated.
        card: Of its dataset, as it is now.
    """
    reasons = [reason for reason in (_reader(store, card), _classes(store, card)) if reason]
    if not reasons:
        return ""
    return (f"{store.path} is outdated: {'; '.join(reasons)}; prepare it again: "
            f"{'ssl-skel data import' if '+' in store.path.name else 'ssl-skel data prepare'} ... --force")


def reader_changed(raw: object, version: object, policy: object, name: str) -> str:
    """What a reader has changed in since it prepared a store; empty if nothing.

    Args:
        raw: ``raw`` of the store's ``meta.json``.
        version: Of the reader now.
        policy: Of the reader now.
        name: Of the dataset.
    """
    if not isinstance(raw, dict):
        return ""
    if (before := raw.get("reader_version", version)) != version:
        return f"it was prepared by version {before} of the reader of {name}, which is version {version} now"
    if (told := raw.get("policy", policy)) != policy:
        return f"it was prepared with the policy {told!r} of the reader of {name}, which is {policy!r} now"
    return ""


def _reader(store: Store, card: DatasetCard) -> str:
    if store.meta["origin"] != "raw" or not card.reader:
        return ""
    try:
        reader = load_target(card.reader)
        version, policy = reader.version, reader.policy
    except Exception:  # a reader that can't be imported harms nobody who does not prepare; its check says so
        return ""
    return reader_changed(store.meta.get("raw"), version, policy, card.name)


def _classes(store: Store, card: DatasetCard) -> str:
    """Stores of earlier versions do not name their classes."""
    before, now = store.meta.get("classes"), list(card.classes)
    if not isinstance(before, list) or before == now:
        return ""
    if len(before) != len(now):
        return f"it was prepared for {len(before)} classes, {card.name} has {len(now)} now"
    label = next(number for number, pair in enumerate(zip(before, now)) if pair[0] != pair[1])
    return f"label {label} was class {before[label]!r} when it was prepared, {card.name} calls it {now[label]!r} now"
