"""Finds and reads the source of a dotted module without importing any part of it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from ssl_skel.errors import BrokenPlugin


def package_folder(package: str) -> Path | None:
    """Folder of a dotted package, found without importing any part of it."""
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place).joinpath(*rest)
        if folder.is_dir():
            return folder
    return None


def module_file(module: str, folder: Path | None = None) -> Path | None:
    """Source of a dotted module, found without importing any package above it.

    Args:
        module: Its name.
        folder: Where it is looked for instead of on the import path.
    """
    package, _, last = module.rpartition(".")
    if folder is not None:
        base: Path | None = folder.joinpath(*package.split(".")) if package else folder
    elif package:
        base = package_folder(package)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        return Path(spec.origin) if spec and spec.origin else None
    places = [base / f"{last}.py", base / last / "__init__.py"] if base else []
    return next((place for place in places if place.is_file()), None)


def python_files(module: Path) -> tuple[list[Path], Path]:
    """The Python files that stand for a module, and the folder that their names are relative to.

    Those of its package, as it may import any of them; of a module outside a package only itself.

    Args:
        module: Its file.
    """
    folder = module.parent
    if not (folder / "__init__.py").is_file():
        return [module], folder
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts], folder


def static_version(target: str, folder: Path | None = None) -> int:
    """Read the ``version`` of the class at `target` from its source, without importing it.

    Args:
        target: ``module:Class``.
        folder: Where the module lies, if not on the import path.

    Returns:
        The class attribute's value, or 1 where the class does not set it.

    Raises:
        BrokenPlugin: If the module's file does not parse.
    """
    module, _, name = target.partition(":")
    path = module_file(module, folder)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8")) if path else None
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
        raise BrokenPlugin(f"{path} does not parse: {error}") from None
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                names = [item.target] if isinstance(item, ast.AnnAssign) else getattr(item, "targets", [])
                if any(getattr(n, "id", "") == "version" for n in names):
                    value = getattr(item, "value", None)
                    return int(value.value) if isinstance(value, ast.Constant) else 1  # type: ignore[arg-type]
    return 1
