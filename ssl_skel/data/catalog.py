"""Datasets by name, as the registry knows them; a card is imported when it is asked for."""

from __future__ import annotations

from ssl_skel.data.card import DatasetCard
from ssl_skel.registry import discover, load_target

__all__ = ["dataset_names", "get_card", "load_target"]


def dataset_names() -> list[str]:
    """Names of all datasets."""
    return discover().names("datasets")


def get_card(name: str) -> DatasetCard:
    """Look a dataset up by name.

    Raises:
        UnknownName: If no dataset has that name.
    """
    card = discover().load("datasets", name)
    assert isinstance(card, DatasetCard)
    return card
