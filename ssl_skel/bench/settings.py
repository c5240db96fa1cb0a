"""Overrides of keys from ``--config`` files and ``--set``, in that order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ssl_skel.bench.resolve import Settings, merge, parse_settings
from ssl_skel.errors import UsageMistake, suggest
from ssl_skel.schema import Overrides, SettingsFile
from ssl_skel.yamlio import load_yaml, validate


def settings_of(files: Iterable[Path], items: Iterable[str], here: Sequence[str], known: Sequence[str]) -> Settings:
    """Read config files and ``--set`` options; later ones win, key by key.

    Args:
        files: YAML files of a `SettingsFile`.
        items: ``[PLUGIN:]KEY=VALUE``.
        here: Plugins of this run, which may stand before the colon of an item.
        known: All plugins; a file may also have words for those that are not part of this run.

    Raises:
        BadCard: If a file can't be read, or holds another key; says the nearest.
        UsageMistake: If an item is not of its form, or a plugin does not exist.
    """
    found = Settings()
    for path in files:
        content = validate(SettingsFile, load_yaml(path), str(path))
        for name in content.plugins:
            if name not in known:
                raise UsageMistake(f"{path}: there is no plugin {name!r}", suggest(name, known))
        common = Overrides(**{group: getattr(content, group) for group in Overrides.model_fields})
        found = _both(found, Settings(common, dict(content.plugins)))
    return _both(found, parse_settings(items, here))


def _both(first: Settings, then: Settings) -> Settings:
    """Both; what `then` says for every plugin also wins over what `first` says for one."""
    nothing = Overrides()
    return Settings(_merged(first.common, then.common), {
        name: _merged(first.by_plugin.get(name, nothing), then.common, then.by_plugin.get(name, nothing))
        for name in (*first.by_plugin, *then.by_plugin)})


def _merged(*parts: Overrides) -> Overrides:
    groups: dict[str, Any] = {group: merge(*(getattr(part, group) for part in parts))
                              for group in Overrides.model_fields}
    return Overrides(**groups)
