"""Features of frozen encoders, extracted once per pretraining and dataset and shared by all evaluators."""

from __future__ import annotations

import hashlib
import json
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
from ssl_skel.fsio import make_folder, read_bounded, write_atomic
from ssl_skel.leftovers import trim_cache
from ssl_skel.nn.batch_stats import sum_over_processes
from ssl_skel.nn.gather import is_first, of_first, rank, world_size
from ssl_skel.progress import track
from ssl_skel.seed import shuffled

BATCH = 64
MAX_BYTES = 64 << 30


@torch.inference_mode()
def encode(encoders: Mapping[str, Backbone], clips: ClipSource) -> dict[str, Tensor]:
    """Encode clips; several processes take whole batches in turn, so each clip is encoded once.

    They come in an order drawn at random: stores are sorted by clip name, often by class, so a network that counts its
    clips would know the labels.

    Args:
        encoders: Frozen encoders.
        clips: n clips.

    Returns:
        Encoder name -> (n, D) float32 on the CPU.
    """
    features = {name: torch.zeros(len(clips), encoder.dim) for name, encoder in encoders.items()}
    order = shuffled(len(clips), "extraction")
    indexes = order.split(BATCH)[rank()::world_size()]  # type: ignore[no-untyped-call]
    for number, index in enumerate(track(indexes, len(clips))):
        if number + 1 < len(indexes):
            clips.prefetch(indexes[number + 1])
        batch = clips.batch(index)
        for name, encoder in encoders.items():
            features[name][index] = encoder(batch.xyz, batch.valid, batch.layout).pooled.float().cpu()
    return dict(zip(features, sum_over_processes(*features.values()), strict=True))


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
    path = _cache_path(out, cell, part, encoders_sha256)
    features = _cached(path, cell, part)
    if of_first(features is None):
        features = encode(encoders(), part.clips)
        if is_first():
            write_cache(path, features)
            trim_cache(out, path)
    assert features is not None
    return FeatureSet(streams={name: features[name] for name in cell.streams}, names=part.names,
                      subjects=part.subjects, labels=part.labels if labels else None)


def is_extracted(out: Path, cell: EvalCell, part: Part, encoders_sha256: str) -> bool:
    """Whether `extract` has nothing to do for one part of a split."""
    return _cached(_cache_path(out, cell, part, encoders_sha256), cell, part) is not None


def _cached(path: Path, cell: EvalCell, part: Part) -> dict[str, Tensor] | None:
    features = read_cache(path)
    if features is None or any(len(features.get(name, ())) != len(part) for name in cell.streams):
        return None
    return features


def _cache_path(out: Path, cell: EvalCell, part: Part, encoders_sha256: str) -> Path:
    names = names_digest([name.encode() for name in part.names])
    joints = {"joints": cell.origin.joints} if cell.origin and cell.origin.joints is not None else {}
    key = ids.short_id({"core": ids.CORE_NUMERICS, "dataset": cell.dataset_digest, "frames": cell.frames, **joints,
                        "encoders": encoders_sha256, "preprocessing": cell.preprocessing.model_dump(), "names": names})
    return make_folder(out, "features", cell.pretrain_id) / f"{cell.dataset}-{key}.safetensors"


def write_cache(path: Path, features: Mapping[str, Tensor]) -> None:
    """Write features with a digest of them, since a flipped bit would change the numbers unseen.

    Args:
        path: Of the file.
        features: Encoder name -> (n, D) float32.

    Raises:
        OutputError: If the folder can't be written.
    """
    write_atomic(path, save(dict(features), {"sha256": _digest(features)}))


def read_cache(path: Path) -> dict[str, Tensor] | None:
    """Read features back; None where there are none, or the file is not what was written."""
    try:
        data = read_bounded(path, MAX_BYTES)
        found: dict[str, Tensor] = load(data)
        head = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        return found if head["__metadata__"]["sha256"] == _digest(found) else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _digest(features: Mapping[str, Tensor]) -> str:
    hasher = hashlib.sha256()
    for name, values in sorted(features.items()):
        hasher.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        hasher.update(values.contiguous().numpy().data)
    return hasher.hexdigest()
