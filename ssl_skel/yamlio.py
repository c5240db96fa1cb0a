"""Reading YAML that other people wrote: plain data only, no duplicate keys, no alias, depth or size bombs."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ssl_skel.errors import BadCard, suggest

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 30_000

ModelT = TypeVar("ModelT", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """Safe loader of plain data: text, finite numbers, booleans, lists and mappings with text keys."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.events.AliasEvent) or getattr(event, "anchor", None):
            raise _refusal("aliases are not allowed here", event)
        if getattr(event, "tag", None):
            raise _refusal("tags are not allowed here", event)
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH:
            raise _refusal(f"nested deeper than {MAX_DEPTH} levels", event)
        if self.nodes > MAX_NODES:
            raise _refusal(f"more than {MAX_NODES} values", event)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal("a key must be text (quote it)", key_node)
            if key in seen:
                raise _refusal(f"key {key[:60]!r} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_float(self, node: Any) -> float:
        value = float(super().construct_yaml_float(node))
        if not math.isfinite(value):
            raise _refusal("a number must be finite", node)
        return value


def _refusal(problem: str, where: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_yaml_float)
# YAML 1.1 takes 1e-3 for text, and turns 2020-01-01 into a date that JSON does not have.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":timestamp", ":merge", ":value"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789"))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        path: The file.

    Raises:
        BadCard: If it is missing, too large, not UTF-8, not YAML, or not a mapping.
    """
    try:
        if not path.is_file():
            raise BadCard(f"can't read {path}: there is no such file")
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise BadCard(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadCard(f"can't read {path}: it is no UTF-8 text ({error.reason} at byte {error.start})") from None
    if len(data) > MAX_BYTES:
        raise BadCard(f"{path} is larger than {MAX_BYTES // 1000} kB", "A card is a page, not a data file.")
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> dict[str, Any]:
    """Parse a YAML mapping from text; `origin` names it in errors.

    Raises:
        BadCard: As `load_yaml`.
    """
    data = parse_value(text, origin)
    if not isinstance(data, dict):
        raise BadCard(f"{origin} holds no mapping", "It must consist of `key: value` lines.")
    return data


def parse_value(text: str, origin: str) -> Any:
    """Parse one YAML value under the same rules; `origin` names it in errors.

    Raises:
        BadCard: If it is not YAML, or not plain data.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise BadCard(f"{origin}{line}: {problem}") from None
    except yaml.reader.ReaderError as error:
        raise BadCard(f"{origin}: character {error.character!r} is not allowed in YAML") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadCard(f"{origin}: {str(error)[:200]}") from None


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
    """Turn a validation error into one line: the first unknown key, since a typo explains what else is missing.

    Args:
        error: From pydantic.
        model: The model, for its key names.
    """
    found = error.errors(include_url=False)
    first = next((item for item in found if item["type"] == "extra_forbidden"), found[0])
    where = ".".join(str(part)[:60] for part in first["loc"]) or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}{more}. {suggest(str(first['loc'][-1])[:60], _keys(model, first['loc'][:-1]))}"
    got = "" if first["type"] == "missing" else f", not {str(first['input'])[:60]!r}"
    return f"{where}: {_message(first['msg'])[:300]}{got}{more}"


def _message(text: str) -> str:
    """Pydantic's sentence as the tail of ours: small first letter, without its own prefix."""
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


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
