"""Features of frozen encoders, extracted once per pretraining and dataset and shared by all evaluators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ssl_skel import ids
from ssl_skel.api import Backbone, ClipSource, FeatureSet
from ssl_skel.bench.cells import EvalCell
from ssl_skel.data.open import SplitView
from ssl_skel.fsio import make_folder, write_atomic

BATCH = 64


@torch.inference_mode()
def encode(encoders: Mapping[str, Backbone], clips: ClipSource, device: torch.device) -> dict[str, Tensor]:
    """Encode clips in their fixed order.

    Args:
        encoders: Frozen encoders.
        clips: n clips.
        device: Where they are.

    Returns:
        Encoder name -> (n, D) float32 on the CPU.
    """
    chunks: dict[str, list[Tensor]] = {name: [] for name in encoders}
    for index in torch.arange(len(clips), device=device).split(BATCH):
        batch = clips.batch(index)
        for name, encoder in encoders.items():
            chunks[name].append(encoder(batch.xyz, batch.valid, batch.layout).pooled.float().cpu())
    return {name: torch.cat(parts) for name, parts in chunks.items()}


def extract(out: Path, cell: EvalCell, view: SplitView, encoders: Callable[[], Mapping[str, Backbone]]) -> dict[str, Tensor]:
    """Return the features of every clip of the dataset, from the cache where they are there.

    The cache is keyed by everything that the features depend on; a file that can't be read is made anew.

    Args:
        out: Output folder.
        cell: The evaluation.
        view: Its split; all clips of the dataset are encoded, so splits share the file.
        encoders: Loads the encoders, called only when the cache has nothing.

    Returns:
        Encoder name -> (n_all, D) float32, in the order of the store's index.
    """
    key = ids.short_id({"core": ids.CORE_NUMERICS, "dataset": cell.dataset_digest, "frames": cell.frames,
                        "preprocessing": cell.preprocessing.model_dump()})
    path = make_folder(out, "features", cell.pretrain_id) / f"{cell.dataset}-{key}.safetensors"
    if path.is_file():
        try:
            return load(path.read_bytes())
        except (SafetensorError, OSError):
            path.unlink(missing_ok=True)
    features = encode(encoders(), view.all_clips, view.device)
    write_atomic(path, save(features))
    return features


def feature_set(features: Mapping[str, Tensor], streams: tuple[str, ...], view: SplitView,
                part: Literal["train", "test"]) -> FeatureSet:
    """Cut one part of a split out of the features of the whole dataset; the test part gets no labels."""
    positions = torch.from_numpy(view.parts.train if part == "train" else view.parts.test)
    return FeatureSet(
        streams={name: features[name][positions] for name in streams},
        names=view.train_names if part == "train" else view.test_names,
        subjects=torch.from_numpy(view.subjects)[positions],
        labels=view.train_labels if part == "train" else None)
