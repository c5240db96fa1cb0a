"""Datasets by name, as the registry knows them; a card is imported when it is asked for."""

from __future__ import annotations

import importlib

from ssl_skel.data.card import DatasetCard
from ssl_skel.registry import discover


def dataset_names() -> list[str]:
    """Names of all datasets."""
    return discover().names("datasets")


def load_target(target: str) -> object:
    """Import ``module:attribute``."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def get_card(name: str) -> DatasetCard:
    """Look a dataset up by name.

    Raises:
        UnknownName: If no dataset has that name.
    """
    card = discover().load("datasets", name)
    assert isinstance(card, DatasetCard)
    return card
