"""Identity: canonical JSON, content digests, and the digest of code that ignores comments."""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CORE_NUMERICS = 1
"""Raised when the training loop, the loader, the backbones or the evaluators change a number."""


def canonical(value: Any) -> str:
    """Write a value as canonical JSON: sorted keys, no spaces, no NaN; equal values give equal text.

    Args:
        value: Nested dicts, lists, tuples, strings, numbers, booleans, None.

    Raises:
        ValueError: On NaN, infinity, a type that JSON does not have, or keys that are equal as text.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {str(key): _plain(item) for key, item in value.items()}
        if len(plain) != len(value):
            raise ValueError("two keys are the same text")
        return plain
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in an id")
        # 1.0 and 1 are the same number to whoever writes a card.
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, bool | int | str):
        return value
    raise ValueError(f"{type(value).__name__} has no place in an id")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def short_id(value: Any) -> str:
    """First 16 hex digits of `digest`: the id of a cell."""
    return digest(value)[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def text_digest(lines: Iterable[str]) -> str:
    """SHA-256 over lines of text, each ended by a newline."""
    hasher = hashlib.sha256()
    for line in lines:
        hasher.update(line.encode() + b"\n")
    return hasher.hexdigest()


def code_digest(paths: Iterable[Path], root: Path) -> str:
    """Digest of Python files over their syntax trees: comments, docstrings and layout don't count.

    Args:
        paths: Python files, in any order.
        root: Names are taken relative to it.
    """
    parts = {path.relative_to(root).as_posix(): _ast_text(path) for path in paths}
    return digest(parts)


def _ast_text(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if (body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
                    and isinstance(body[0].value.value, str)):
                node.body = body[1:]
    return ast.unparse(tree)  # unlike ast.dump, the same text on every Python version
