"""Opening a dataset by name, without torch."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.catalog import get_card, load_target
from ssl_skel.data.store import Store
from ssl_skel.errors import DataMissing
from ssl_skel.firewall import OPENED


@dataclass(frozen=True)
class Dataset:
    """An open store and what is known of it."""

    store: Store
    card: DatasetCard


def default_root() -> Path:
    """``$SSL_SKEL_DATA``, else ``./data``."""
    return Path(os.environ.get("SSL_SKEL_DATA") or "data")


def card_of(name: str) -> DatasetCard:
    """Card of a dataset, or of the dataset that ``name+suffix`` is a variant of (e.g. an import).

    Raises:
        UnknownName: If there is no such dataset.
    """
    return get_card(name.partition("+")[0])


def open_dataset(name: str, data_root: Path | str | None = None, card: DatasetCard | None = None) -> Dataset:
    """Open a prepared dataset, or make a generated one in memory.

    Args:
        name: Registered name; ``name+suffix`` is a variant under its own folder and digest.
        data_root: Default: `default_root`.
        card: Of a dataset that another registry holds.

    Raises:
        UnknownName: If there is no such dataset.
        DataMissing: If it is not prepared.
        DigestMismatch: If the store does not agree with itself.
    """
    sys.audit(OPENED, name)
    card = card or card_of(name)
    if card.generate and "+" in name:
        raise DataMissing(f"{card.name} is generated; there is no {name}")
    if card.generate:
        made = load_target(card.generate)(card)
        assert isinstance(made, Store)
        return Dataset(made, card)
    return Dataset(Store.open(Path(data_root or default_root()) / name), card)
