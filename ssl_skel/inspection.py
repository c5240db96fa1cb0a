"""What is wrong with a plugin's code, as far as it can be seen without running any of it."""

from __future__ import annotations

import ast
import importlib.util

from ssl_skel.errors import SkelError
from ssl_skel.registry import Entry


def static_problem(entry: Entry) -> str:
    """Say why importing a plugin will fail: a syntax error, a package that is not installed, a class that is not there.

    Args:
        entry: A plugin with a folder.

    Returns:
        The first problem, or an empty string; code that fails only when it runs is not found.
    """
    if entry.error or entry.folder is None:
        return entry.error
    module, _, name = entry.target.partition(":")
    path = entry.folder / (module.replace(".", "/") + ".py")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"{path.name} line {error.lineno}: {error.msg}"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return f"{path.name} can't be read: {error}"
    absent = next((top for top in _imported(tree) if not _there(top)), None)
    if absent:
        return f"{path.name} imports {absent!r}, which is not installed"
    return "" if name in _defined(tree) else f"{path.name} defines no {name!r}"


def check_import(entry: Entry) -> str:
    """Import a plugin and say why that fails, or return an empty string."""
    try:
        entry.load()
    except SkelError as error:
        return error.message
    return ""


def _imported(tree: ast.Module) -> list[str]:
    """Top-level packages that the module imports when it is loaded."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
    return [name.partition(".")[0] for name in names]


def _there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _defined(tree: ast.Module) -> set[str]:
    """Names that the module's top level binds by class, function, import or assignment."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
