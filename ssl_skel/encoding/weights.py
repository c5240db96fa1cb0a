"""Weights from a file that somebody else may have written: size, digest, names, types and shapes, never a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from ssl_skel.errors import DataMissing, DigestMismatch
from ssl_skel.fsio import read_bounded

MAX_BYTES = 16 << 30


def read_tensors(path: Path, sha256: str, todo: str, size: int | None = None) -> dict[str, Tensor]:
    """Read a safetensors file that has to have a digest.

    Args:
        path: The file; a symbolic link is not followed.
        sha256: What its card says.
        todo: What to do about a file that is not that.
        size: Bytes that its card says, if it does.

    Raises:
        DataMissing: If there is none, or it can't be read.
        DigestMismatch: If it is cut short, changed, or no safetensors file.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        raise DataMissing(f"{path} is missing", todo) from None
    except (OSError, ValueError) as error:
        raise DataMissing(f"can't read {path}: {getattr(error, 'strerror', None) or error}", todo) from None
    if size is not None and len(data) != size:
        how = "is cut short" if len(data) < size else "is not what its card says"
        raise DigestMismatch(f"{path} {how}: it has {len(data)} bytes, not {size}", todo)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DigestMismatch(f"{path} is not what its card says: its sha256 differs", todo)
    try:
        found: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DigestMismatch(f"{path} is no safetensors file: {str(error).splitlines()[0]}", todo) from None
    return found


def fill(networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors ``<network>/<parameter>`` into networks, if they are exactly what these need.

    Args:
        networks: Name -> network, changed in place.
        tensors: Of all of them.
        path: Names the file in errors.

    Raises:
        DigestMismatch: For a tensor that is missing, too many, or of another shape or type; names the first.
    """
    wanted = {f"{name}/{key}": value for name, network in networks.items()
              for key, value in network.state_dict().items()}
    for key in sorted(wanted.keys() | tensors.keys()):
        problem = _problem(wanted.get(key), tensors.get(key))
        if problem:
            raise DigestMismatch(f"{path} does not fit the encoders: tensor {key[:100]!r} {problem}",
                                 "It belongs to another backbone or configuration.")
    for name, network in networks.items():
        network.load_state_dict({key: tensors[f"{name}/{key}"] for key in network.state_dict()})


def _problem(wanted: Tensor | None, found: Tensor | None) -> str:
    if found is None:
        return "is missing"
    if wanted is None:
        return "is none of theirs"
    if wanted.shape != found.shape:
        return f"has shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
    return "" if wanted.dtype == found.dtype else f"holds {found.dtype}, not {wanted.dtype}"
