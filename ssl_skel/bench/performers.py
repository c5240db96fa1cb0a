"""Who performed the clips of a record: predictions name clips only, the prepared dataset knows their subjects."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_skel.bench.pairing import Ints
from ssl_skel.data.dataset import open_dataset
from ssl_skel.errors import DataMissing


class Performers:
    """Looks up the subjects of clips in the prepared datasets below a folder, each opened once."""

    def __init__(self, data_root: Path) -> None:
        self._root = data_root
        self._known: dict[str, dict[str, int]] = {}

    def __call__(self, dataset: str, clips: tuple[str, ...]) -> Ints:
        """Performer ids, (n,), of the named clips.

        Raises:
            DataMissing: If the dataset is not prepared, or lacks a clip.
        """
        if dataset not in self._known:
            index = open_dataset(dataset, self._root).store.index
            names = (name.decode() for name in index["name"].tolist())
            self._known[dataset] = dict(zip(names, index["subject"].tolist(), strict=True))
        known = self._known[dataset]
        for clip in clips:
            if clip not in known:
                raise DataMissing(f"{self._root / dataset} holds no clip {clip}, which the predictions name",
                                  "Prepare the version of the dataset that the records were made with.")
        return np.array([known[clip] for clip in clips], np.int64)
