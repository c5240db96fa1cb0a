"""Whether compiled parsers may be used (the `fast` extra: numba)."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType


def compiled(module: str) -> ModuleType | None:
    """Import a module that needs numba, the first time that it is asked for.

    Args:
        module: Full name.

    Returns:
        The module; None where numba is not installed or finds no place for its cache, or where
        ``SSL_SKEL_FAST=0`` switches compiled code off.
    """
    return None if os.environ.get("SSL_SKEL_FAST") == "0" else _load(module)


@cache
def _load(module: str) -> ModuleType | None:
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError):
        return None
