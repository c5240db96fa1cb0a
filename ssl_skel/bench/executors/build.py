"""Makes the executor that a run asks for, with its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ssl_skel.api import Executor
from ssl_skel.errors import BadCard, UsageMistake
from ssl_skel.yamlio import parse_value, validate


def build_executor(make: Callable[..., Executor], settings: Iterable[str] = (), **asked: Any) -> Executor:
    """Make an executor.

    Args:
        make: Its class. A class attribute ``Config``, a pydantic model, says which keys it takes.
        settings: ``KEY=VALUE`` of ``--executor-set``; the value is YAML.
        asked: What every executor is told: ``jobs``, ``timeout_h``, ``device``, ``processes``, ``threads``.

    Raises:
        UsageMistake: For a key that it does not take, or a value that it refuses.
    """
    table, model = _parse(settings), getattr(make, "Config", None)
    if model is None:
        if table:
            raise UsageMistake(f"--executor-set {next(iter(table))}: this executor takes no keys")
        return make(**asked)
    try:
        cfg = validate(model, table, "--executor-set")
    except BadCard as error:
        raise UsageMistake(error.what) from None
    return make(**asked, cfg=cfg)


def _parse(settings: Iterable[str]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for item in settings:
        key, sign, text = item.partition("=")
        first, dot, rest = key.partition(".")
        if not sign or not first or (dot and not rest):
            raise UsageMistake(f"--executor-set {item!r} is not KEY=VALUE", "For example --executor-set cpus=4")
        try:
            value = parse_value(text, f"--executor-set {item[:100]!r}")
        except BadCard as error:
            raise UsageMistake(error.what) from None
        if dot:
            table.setdefault(first, {})[rest] = value
        else:
            table[first] = value
    return table
