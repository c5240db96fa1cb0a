"""Checkpoints of a running pretraining: atomic, verified, with the one before as a fallback."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_skel.fsio import output_error, write_atomic

log = logging.getLogger(__name__)

NAMES = ("last.ckpt", "previous.ckpt")


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
    write_atomic(last, buffer.getvalue())


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
        if not path.is_file():
            continue
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types on a torn file
            log.warning("%s can't be read (%s); falling back", path, type(error).__name__)
            continue
        if isinstance(state, dict) and state.get("owner") == owner:
            return state
        log.warning("%s belongs to another configuration; ignored", path)
    return None


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished pretraining."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
