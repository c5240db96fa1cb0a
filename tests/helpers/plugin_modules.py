"""Modules of the plugins that the repository ships, for tests that look inside one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ssl_skel.registry import plugin_entry

PLUGINS = Path(__file__).parents[2] / "plugins"


def plugin_module(plugin: str, module: str) -> Any:
    """Import one module of a plugin's folder, as the registry does."""
    task = plugin_entry(PLUGINS / plugin, "tests").load()
    return importlib.import_module(f"{task.__module__.rpartition('.')[0]}.{module}")
