"""How the loops of the extra `fast` are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["jit"]

Loop = TypeVar("Loop", bound=Callable[..., Any])


def jit(loop: Loop) -> Loop:
    """Compile without the interpreter's lock; the result is kept on disk where a folder can be written."""
    try:
        compiled: Loop = numba.njit(loop, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(loop, nogil=True, error_model="numpy")
    return compiled
