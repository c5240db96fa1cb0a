"""UWA3D Multiview Activity II: 30 actions, 10 subjects, 4 views, recorded one after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name

VIEWS = (1, 2, 3, 4)
HELD_OUT = (5,)
"""Training subject on which all choosing is done, in every split of this dataset."""


def _fold(train: tuple[int, ...], test: int) -> Callable[[Index], Masks]:
    def select(index: Index) -> Masks:
        return np.isin(index["view"], train), index["view"] == test

    return select


def _folds() -> list[Split]:
    """Train on two views, test on each of the others: twelve splits; papers report their mean."""
    return [Split(f"v{a}{b}-v{test}", f"views {a} and {b} train, view {test} tests", _fold((a, b), test), HELD_OUT,
                  disjoint_by="view")
            for a, b in combinations(VIEWS, 2) for test in VIEWS if test not in (a, b)]


CARD = DatasetCard(
    name="uwa3d",
    title="UWA3D Multiview Activity II",
    layout="nite_15",
    persons=1,
    classes=(
        "one hand waving", "one hand punching", "two hand waving", "two hand punching", "sitting down",
        "standing up", "vibrating", "falling down", "holding chest", "holding head", "holding back",
        "walking", "irregular walking", "lying down", "turning around", "drinking", "phone answering",
        "bending", "jumping jack", "running", "picking up", "putting down", "kicking", "jumping", "dancing",
        "moping floor", "sneezing", "sitting down (chair)", "squatting", "coughing",
    ),
    splits=by_name(*_folds()),
    groups={"xview": tuple(split.name for split in _folds())},
    reader="ssl_skel.data.readers.uwa3d:Uwa3dReader",
    source="H. Rahmani's page at the University of Western Australia; said to be offline, ask the authors",
    licence="no licence stated; not cleared for redistribution",
    terms="cite the paper",
    citation="H. Rahmani, A. Mahmood, D. Huynh, A. Mian: Histogram of Oriented Principal Components for Cross-View "
             "Action Recognition. TPAMI 2016",
    notes=("the mean over the twelve splits is the number that papers report (some only over V1+V2 -> V3, V4)",
           "1,075 clips in the paper; about 255 a view have skeletons",
           "no file was at hand: axis order and unit are measured by the reader"),
)
