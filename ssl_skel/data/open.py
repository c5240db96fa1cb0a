"""Opening datasets and splits, and the firewall: what pretraining gets holds no label and no test clip."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_skel.data.card import DatasetCard, Parts, Split, names_digest
from ssl_skel.data.dataset import Dataset, open_dataset
from ssl_skel.data.layouts import Layout
from ssl_skel.data.loader import Clips, load_clips
from ssl_skel.data.mapped import MappedClips
from ssl_skel.data.preprocess import Family, get_family
from ssl_skel.errors import BadData

__all__ = ["Dataset", "Part", "PretrainingData", "SplitView", "open_dataset", "open_split"]

DEFAULT_FRAMES = 64


class Part:
    """One part of a split: clips on the device (loaded at first use) and what is known of them.

    Attributes:
        positions: (n,) in the store's index.
        names: Clip names.
        labels: (n,) int64 on the CPU.
        subjects: (n,) int64 on the CPU.
        views: (n,) int64 on the CPU.
    """

    def __init__(self, dataset: Dataset, positions: NDArray[np.int64], family: Family, frames: int,
                 device: torch.device, budget: int | None, shown_in: Layout | None = None) -> None:
        index = dataset.store.index[positions]
        self.positions, self._dataset, self._family = positions, dataset, family
        self._frames, self._device, self._budget, self._shown_in = frames, device, budget, shown_in
        self.names = [name.decode() for name in index["name"].tolist()]
        self.labels, self.subjects, self.views = (
            torch.from_numpy(index[column].astype(np.int64)) for column in ("label", "subject", "view"))

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def clips(self) -> Clips:
        """The clips, as an `api.ClipSource` that can also sample for training."""
        clips = load_clips(self._dataset.store, self.positions, self._family, scale=self._dataset.card.scale,
                           frames=self._frames, device=self._device, budget=self._budget)
        return clips if self._shown_in is None else MappedClips(clips, self._shown_in)

    def at(self, positions: NDArray[np.int64]) -> Part:
        """The clips at other positions of the same store, opened in the same way."""
        return Part(self._dataset, positions, self._family, self._frames, self._device, self._budget, self._shown_in)

    def shown_in(self, layout: Layout) -> Part:
        """The same clips in another joint layout (see `MappedClips`)."""
        shown = layout.with_persons(self._dataset.store.layout.persons)
        return Part(self._dataset, self.positions, self._family, self._frames, self._device, self._budget, shown)

    def reopened(self, family: Family, frames: int, device: torch.device) -> Part:
        """The same clips with another preprocessing, length in evaluation and device."""
        return Part(self._dataset, self.positions, family, frames, device, self._budget, self._shown_in)

    def arrays(self) -> list[NDArray[np.float32]]:
        """Raw clips in metres, each (M, T, V, 3) with the persons it has; NaN where a joint was not seen."""
        scale, found = np.float32(self._dataset.card.scale), []
        for clip in map(self._dataset.store.clip, self.positions.tolist()):
            found.append(np.where(clip.valid[..., None], clip.xyz * scale, np.float32(np.nan)))
        return found

    @property
    def layout(self) -> Layout:
        """Joint layout of the clips."""
        return self._shown_in or self._dataset.store.layout

    def free(self) -> None:
        """Let the clips go; they are loaded again when asked for."""
        self.__dict__.pop("clips", None)


@dataclass(frozen=True)
class PretrainingData:
    """All that pretraining may have: training clips without names or labels, and no test clips.

    Attributes:
        clips: Of the training part, positions as in `SplitView.train`.
        layout: Joint layout.
        digest: Of the data that pretraining depends on (`SplitView.train_digest` and the dataset digest).
    """

    clips: Clips
    layout: Layout
    digest: str

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class SplitView:
    """A split of a prepared dataset, preprocessed for a device.

    Attributes:
        name: Of the dataset, with the suffix of a variant.
        dataset: Opened.
        split: Its definition.
        preprocessing: Family.
        frames: T in evaluation.
        train: Training part.
        test: Test part.
        val: (n_train,) bool on the CPU, held-out training subjects.
        support: (k,) positions in the store's index of one-shot exemplars.
    """

    name: str
    dataset: Dataset
    split: Split
    preprocessing: Family
    frames: int
    train: Part
    test: Part
    val: Tensor
    support: NDArray[np.int64]

    @property
    def layout(self) -> Layout:
        """Joint layout."""
        return self.dataset.store.layout

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.dataset.card.classes)

    @cached_property
    def dataset_digest(self) -> str:
        """Of the store, the preprocessing and the scale."""
        key = [self.dataset.store.digest, self.preprocessing.id, self.dataset.card.scale]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()

    @cached_property
    def split_digest(self) -> str:
        """Of the names of training, held-out and test clips."""
        train, val = self._names(self.train), self.val.numpy()
        held_out = [name for name, chosen in zip(train, val) if chosen]
        return names_digest(train, held_out, self._names(self.test))

    @cached_property
    def train_digest(self) -> str:
        """Of the names of the training clips only, so that v3 and v3-clean share a pretraining."""
        return names_digest(self._names(self.train))

    def shown_in(self, layout: Layout) -> SplitView:
        """The same split with clips in the joint layout of an encoder that was pretrained on other skeletons."""
        return replace(self, train=self.train.shown_in(layout), test=self.test.shown_in(layout))

    def pretraining(self) -> PretrainingData:
        """The training clips behind the firewall."""
        digest = hashlib.sha256(f"{self.dataset_digest} {self.train_digest}".encode()).hexdigest()
        return PretrainingData(self.train.clips, self.layout, digest)

    @staticmethod
    def _names(part: Part) -> list[bytes]:
        return [name.encode() for name in part.names]


def open_split(dataset: str, split: str, data_root: Path | str | None = None, *, preprocessing: str = "",
               frames: int = DEFAULT_FRAMES, device: torch.device | str = "cpu", budget: int | None = None,
               incomplete: bool = False, card: DatasetCard | None = None) -> SplitView:
    """Open a split; clips are loaded when they are first asked for.

    Args:
        dataset: Registered name.
        split: Name of one of its splits.
        data_root: Default: `default_root`.
        preprocessing: Family; "" for the dataset's default.
        frames: T in evaluation.
        device: Where batches are wanted.
        budget: Bytes that a part may take on the device; see `load_clips`.
        incomplete: Accept a dataset from which clips are missing.
        card: Of a dataset that another registry holds.

    Raises:
        UnknownName: If dataset, split or preprocessing don't exist.
        DataMissing: If the dataset is not prepared.
        BadData: If the parts have not the size of the complete dataset, or one is empty.
    """
    opened = open_dataset(dataset, data_root, card)
    definition, family = opened.card.get_split(split), get_family(preprocessing or opened.card.preprocessing)
    parts = definition.apply(opened.store.index)
    if not incomplete:
        _check_complete(opened, definition, parts)
    device = torch.device(device)
    train, test = (Part(opened, chosen, family, frames, device, budget)
                   for chosen in (parts.train, parts.test))
    val = torch.from_numpy(parts.val)
    return SplitView(dataset, opened, definition, family, frames, train, test, val, parts.support)


def _check_complete(dataset: Dataset, split: Split, parts: Parts) -> None:
    if not split.is_complete(parts):
        found, expected = f"{len(parts.train)}/{len(parts.test)}", "{}/{}".format(*split.expected or ())
        raise BadData(f"{dataset.card.name} {split.name} has {found} clips, expected {expected}",
                      f"Clips are missing; see {dataset.store.path / 'report.json'}.")
