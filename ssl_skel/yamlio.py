"""Reading YAML that other people wrote: safe tags only, no duplicate keys, no alias or depth bombs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ssl_skel.errors import BadCard, suggest

MAX_BYTES = 2_000_000
MAX_DEPTH = 40

ModelT = TypeVar("ModelT", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that refuses duplicate keys, aliases and bottomless nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed here", mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        path: The file.

    Raises:
        BadCard: If it is missing, too large, not UTF-8, not YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadCard(f"{path} is larger than {MAX_BYTES // 1000} kB", "A card is a page, not a data file.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadCard(f"can't read {path}: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> dict[str, Any]:
    """Parse a YAML mapping from text; `origin` names it in errors.

    Raises:
        BadCard: As `load_yaml`.
    """
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadCard(f"{origin}{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadCard(f"{origin}: {error}") from None
    if not isinstance(data, dict):
        raise BadCard(f"{origin} holds no mapping", "It must consist of `key: value` lines.")
    return data


def validate(model: type[ModelT], data: Any, origin: str) -> ModelT:
    """Validate a mapping against a model, with one clear line on failure.

    Args:
        model: The pydantic model.
        data: What was read.
        origin: Names the source in the error.

    Raises:
        BadCard: Says the first key that is wrong, why, and the nearest key that exists.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BadCard(f"{origin}: {describe(error, model)}") from None


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn the first validation error into one line.

    Args:
        error: From pydantic.
        model: The model, for its key names.
    """
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}{more}. {suggest(str(first['loc'][-1]), _keys(model, first['loc'][:-1]))}"
    got = "" if first["type"] == "missing" else f", not {str(first['input'])[:60]!r}"
    return f"{where}: {first['msg'].lower()}{got}{more}"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the (nested) model at `path`."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        nested = [t for t in (field.annotation, *getattr(field.annotation, "__args__", ()))
                  if isinstance(t, type) and issubclass(t, BaseModel)]
        if nested:
            model = nested[0]
    return [field.alias or name for name, field in model.model_fields.items()]
