"""Loading without workers beside the loader of the field: per-sample numpy in a DataLoader with two workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ssl_skel.bench.timing import compare
from ssl_skel.data.open import Part, SplitView, open_split
from ssl_skel.errors import ContractFailed
from ssl_skel.nn.one_thread import one_thread

WORKERS = 2


def loader(dataset: str = "synthetic", split: str = "xsub", batch: int = 24, frames: int = 40, epochs: int = 5,
           repeats: int = 3) -> dict[str, Any]:
    """Time epochs of training batches: stratified frames of each clip, centred on its first frame.

    Args:
        dataset: Prepared or generated dataset, of one person.
        split: Its training part is read.
        batch: Clips a batch.
        frames: T.
        epochs: Over the part, in one run.
        repeats: Alternating runs of each.

    Raises:
        ContractFailed: If the two give different clips.
    """
    view = open_split(dataset, split, preprocessing="first-frame", incomplete=True)
    plain = _PlainClips(view.train, view, frames)
    # The workers of the peer live through all runs, as they do through a training.
    feed = DataLoader(plain, batch, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)
    gen = torch.Generator().manual_seed(0)

    def ours() -> int:
        clips, count = view.train.clips, 0
        for _ in range(epochs):
            order = torch.randperm(len(view.train), generator=gen)
            for index in order[:len(order) // batch * batch].view(-1, batch):
                count += len(clips.sample(index, frames, "stratified", gen))
        return count

    def peer() -> int:
        return sum(len(xyz) for _ in range(epochs) for xyz in feed)

    def agree(one: int, other: int) -> dict[str, Any]:
        if one != other:
            raise ContractFailed(f"loader: {one} clips against {other}")
        return {"clips": one, "workers_of_peer": WORKERS, "largest_difference": _difference(view, plain, frames)}

    with one_thread():  # as in each worker of the peer
        ours(), peer()
        result = compare("loader", ours, peer, agree, repeats)
    clips = result["parts"]["clips"]
    result["parts"] |= {"ours_clips_per_s": clips / result["ours_s"], "peer_clips_per_s": clips / result["peer_s"]}
    return result | {"size": [dataset, batch, frames, epochs]}


class _PlainClips(TorchDataset[Tensor]):
    """The loader as the field writes it: one clip at a time, in numpy."""

    def __init__(self, part: Part, view: SplitView, frames: int) -> None:
        store = view.dataset.store
        found = [store.clip(int(position)) for position in part.positions]
        self.clips = [np.where(clip.valid[0, :, :, None], clip.xyz[0], 0.0).astype(np.float32) for clip in found]
        self.frames, self.centre = frames, store.layout.centre

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.resample(index, np.random.default_rng().random(self.frames)))

    def resample(self, index: int, place: Any) -> Any:
        """(T, V, 3) at `place` (T,) in [0, 1) of each bin."""
        clip = self.clips[index]
        clip = clip - clip[0, self.centre]
        length = len(clip)
        where = np.clip((np.arange(self.frames) + place) * length / self.frames - 0.5, 0, length - 1)
        before = np.floor(where).astype(int)
        after = np.minimum(before + 1, length - 1)
        share = (where - before)[:, None, None].astype(np.float32)
        return clip[before] * (1 - share) + clip[after] * share


def _difference(view: SplitView, plain: _PlainClips, frames: int) -> float:
    """Largest difference of centred clips that are valid throughout."""
    worst = 0.0
    for position in range(0, len(plain), 7):
        batch = view.train.clips.sample(torch.tensor([position]), frames, "centred")
        whole = bool(view.dataset.store.clip(int(view.train.positions[position])).valid.all())
        if whole:
            wanted = torch.from_numpy(plain.resample(position, np.full(frames, 0.5)))
            worst = max(worst, float((batch.xyz[0, 0] - wanted).abs().max()))
    if worst > 1e-4:
        raise ContractFailed(f"loader: clips differ by {worst}")
    return worst
