"""Features of frozen encoders, extracted once per pretraining and dataset and shared by all evaluators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ssl_skel import ids
from ssl_skel.api import Backbone, ClipSource, FeatureSet
from ssl_skel.bench.cells import EvalCell
from ssl_skel.data.card import names_digest
from ssl_skel.data.open import Part
from ssl_skel.fsio import make_folder, write_atomic

BATCH = 64


@torch.inference_mode()
def encode(encoders: Mapping[str, Backbone], clips: ClipSource) -> dict[str, Tensor]:
    """Encode clips in their fixed order.

    Args:
        encoders: Frozen encoders.
        clips: n clips.

    Returns:
        Encoder name -> (n, D) float32 on the CPU.
    """
    chunks: dict[str, list[Tensor]] = {name: [] for name in encoders}
    indexes = torch.arange(len(clips)).split(BATCH)  # type: ignore[no-untyped-call]
    for number, index in enumerate(indexes):
        if number + 1 < len(indexes):
            clips.prefetch(indexes[number + 1])
        batch = clips.batch(index)
        for name, encoder in encoders.items():
            chunks[name].append(encoder(batch.xyz, batch.valid, batch.layout).pooled.float().cpu())
    return {name: torch.cat(parts) for name, parts in chunks.items()}


def extract(out: Path, cell: EvalCell, part: Part, encoders_sha256: str,
            encoders: Callable[[], Mapping[str, Backbone]], labels: bool) -> FeatureSet:
    """Return the features of one part of a split, from the cache where they are there.

    The cache is keyed by everything that the features depend on, so splits with the same training part share it;
    a file that can't be read is made anew.

    Args:
        out: Output folder.
        cell: The evaluation.
        part: Training or test part.
        encoders_sha256: Of the weights, so that a repeated pretraining does not meet old features.
        encoders: Loads the encoders, called only when the cache has nothing.
        labels: Whether the labels come along; never for the test part.

    Raises:
        OutputError: If the folder can't be written.
    """
    names = names_digest([name.encode() for name in part.names])
    key = ids.short_id({"core": ids.CORE_NUMERICS, "dataset": cell.dataset_digest, "frames": cell.frames,
                        "encoders": encoders_sha256, "preprocessing": cell.preprocessing.model_dump(), "names": names})
    path = make_folder(out, "features", cell.pretrain_id) / f"{cell.dataset}-{key}.safetensors"
    features = _cached(path)
    if features is None or any(len(features.get(name, ())) != len(part) for name in cell.streams):
        features = encode(encoders(), part.clips)
        write_atomic(path, save(features))
    return FeatureSet(streams={name: features[name] for name in cell.streams}, names=part.names,
                      subjects=part.subjects, labels=part.labels if labels else None)


def _cached(path: Path) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        found: dict[str, Tensor] = load(path.read_bytes())
        return found
    except (SafetensorError, OSError):
        return None
