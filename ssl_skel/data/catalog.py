"""Dataset name -> ``module:attribute`` of its card, imported when it is asked for."""

from __future__ import annotations

import importlib

from ssl_skel.data.card import DatasetCard
from ssl_skel.errors import UnknownName

TARGETS: dict[str, str] = {
    "nw-ucla": "ssl_skel.data.datasets.nw_ucla:CARD",
    "synthetic": "ssl_skel.data.datasets.synthetic:CARD",
    "synthetic-2p": "ssl_skel.data.datasets.synthetic:CARD_2P",
    "synthetic-3p": "ssl_skel.data.datasets.synthetic:CARD_3P",
    "ntu60": "ssl_skel.data.datasets.ntu60:CARD",
    "ntu120": "ssl_skel.data.datasets.ntu120:CARD",
    "pku-mmd-1": "ssl_skel.data.datasets.pku_mmd_1:CARD",
    "pku-mmd-2": "ssl_skel.data.datasets.pku_mmd_2:CARD",
    "uwa3d": "ssl_skel.data.datasets.uwa3d:CARD",
    "sbu": "ssl_skel.data.datasets.sbu:CARD",
}


def dataset_names() -> list[str]:
    """Names of all datasets."""
    return list(TARGETS)


def load_target(target: str) -> object:
    """Import ``module:attribute``."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def get_card(name: str) -> DatasetCard:
    """Look a dataset up by name.

    Raises:
        UnknownName: If no dataset has that name.
    """
    if name not in TARGETS:
        raise UnknownName("dataset", name, TARGETS)
    card = load_target(TARGETS[name])
    assert isinstance(card, DatasetCard)
    return card
