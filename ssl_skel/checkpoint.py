"""Checkpoints of a running pretraining: atomic, with their SHA-256, and with the one before as a fallback.

A file is a line that names the format, the digest of the rest, and what `torch.save` wrote. Without the digest a
flipped bit in a tensor would go unnoticed, and into the numbers.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_skel.fsio import output_error, read_bounded, write_atomic

log = logging.getLogger(__name__)

NAMES = ("last.ckpt", "previous.ckpt")
FORMAT = b"ssl-skel checkpoint 1\n"
MAX_BYTES = 64 << 30
_DIGEST_BYTES = hashlib.sha256().digest_size


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; the former one stays as the fallback.

    Args:
        folder: Of the pretraining.
        state: Tensors, numbers, strings, lists and dicts only.

    Raises:
        OutputError: If the folder can't be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    last, previous = (folder / name for name in NAMES)
    try:
        if last.exists():
            last.replace(previous)
    except OSError as error:
        raise output_error(last, error) from None
    write_atomic(last, seal(buffer.getvalue()))


def seal(content: bytes) -> bytes:
    """Put the format and the digest of a checkpoint's content before it."""
    return FORMAT + hashlib.sha256(content).digest() + content


def unseal(data: bytes) -> memoryview:
    """Take the content out of a checkpoint.

    Raises:
        ValueError: If it is none, or not what was written.
    """
    begin = len(FORMAT) + _DIGEST_BYTES
    content = memoryview(data)[begin:]
    if not data.startswith(FORMAT):
        raise ValueError("it is no checkpoint")
    if hashlib.sha256(content).digest() != data[len(FORMAT):begin]:
        raise ValueError("its sha256 differs")
    return content


def load(folder: Path, owner: str) -> dict[str, Any] | None:
    """Read the newest checkpoint that can be read.

    Args:
        folder: Of the pretraining.
        owner: Pretraining id that the checkpoint must carry.

    Returns:
        The state, or None where there is no usable checkpoint.
    """
    for name in NAMES:
        path = folder / name
        try:
            content = unseal(read_bounded(path, MAX_BYTES))
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except FileNotFoundError:
            continue
        except Exception as error:  # torch raises many types on a file that it did not write
            log.warning("%s can't be read (%s); falling back", path, str(error).splitlines()[0] if str(error) else
                        type(error).__name__)
            continue
        if isinstance(state, dict) and state.get("owner") == owner:
            return state
        log.warning("%s belongs to another configuration; ignored", path)
    return None


def exists(folder: Path) -> bool:
    """Whether a pretraining was begun before in this folder."""
    return any((folder / name).exists() for name in NAMES)


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished pretraining."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
