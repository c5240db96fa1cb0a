"""Reading JSON that others may have written: no oversized file, no link, no key twice, no depth that breaks writers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ssl_skel.fsio import read_bounded

MAX_DEPTH = 100
"""Far above what is ever written, and below the depth at which pydantic refuses to write a value out again (255)."""


def read_json(path: Path, limit: int, *, finite: bool = False) -> Any:
    """Read a JSON file of at most `limit` bytes.

    Args:
        path: File.
        limit: Bytes.
        finite: As in `parse_json`.

    Raises:
        OSError: As the system says; ELOOP for a link.
        ValueError: If it is no regular file, too large, no JSON, holds a key twice, or is nested too deep.
    """
    return parse_json(read_bounded(path, limit), finite=finite)


def parse_json(data: bytes | str, *, finite: bool = False) -> Any:
    """Parse JSON.

    Args:
        data: Text, or its bytes.
        finite: Whether NaN and the infinities, which are no JSON, are refused, and numbers too large for a float.

    Raises:
        ValueError: If it is no JSON, holds a key twice, or is nested deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(data, object_pairs_hook=_no_duplicates, parse_constant=_no_constant if finite else None,
                           parse_float=_finite if finite else None)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    _refuse_depth(value)
    return value


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level if isinstance(outer, (dict, list))
                 for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
