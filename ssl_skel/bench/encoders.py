"""Frozen encoders on disk: safetensors beside the pretraining's card, verified when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save
from torch import nn

from ssl_skel import ids
from ssl_skel.api import Backbone, PretextTask
from ssl_skel.bench.cards import ENCODERS
from ssl_skel.encoding.weights import fill, read_tensors
from ssl_skel.fsio import write_atomic


def save_encoders(folder: Path, encoders: Mapping[str, nn.Module]) -> str:
    """Write the weights of all encoders to one file, keys ``<encoder>/<parameter>``.

    Args:
        folder: Of the pretraining.
        encoders: Name -> encoder.

    Returns:
        SHA-256 of the file.

    Raises:
        OutputError: If the folder can't be written.
    """
    tensors = {f"{name}/{key}": value.detach().cpu().contiguous().clone()
               for name, encoder in encoders.items() for key, value in encoder.state_dict().items()}
    write_atomic(folder / ENCODERS, save(tensors))
    return ids.file_sha256(folder / ENCODERS)


def load_encoders(folder: Path, task: PretextTask, sha256: str, device: torch.device) -> dict[str, Backbone]:
    """Read encoders into the networks of a freshly built task.

    Args:
        folder: Of the pretraining.
        task: Built from the pretraining's cell.
        sha256: What the card says the file's digest is.
        device: Where they go.

    Returns:
        Name -> encoder, in evaluation mode, without gradients.

    Raises:
        DataMissing: If the file is absent.
        DigestMismatch: If it is not the file that was written, or does not fit the networks.
    """
    path = folder / ENCODERS
    tensors = read_tensors(path, sha256, "Run the pretraining again with --rerun all.")
    encoders = cast(dict[str, Backbone], dict(task.encoders()))
    fill(encoders, tensors, path)
    for encoder in encoders.values():
        encoder.eval().requires_grad_(False).to(device)
    return encoders
