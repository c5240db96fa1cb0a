"""Renders templates into a new folder or project, which appears whole or not at all."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_skel import __version__
from ssl_skel.errors import UsageMistake
from ssl_skel.fsio import TEMP_PREFIX, output_error
from ssl_skel.scaffold.names import Names
from ssl_skel.yamlio import load_yaml

HERE = Path(__file__).parent
KINDS = ("plugin", "backbone", "evaluator", "dataset")

PARTS = {
    "backbone": ("A linear map over joints, convolutions over time, masked means", "the class's `version`"),
    "evaluator": ("The class with the nearest mean of training features", "the class's `version`"),
    "dataset": ("Clips of one person with 20 joints from CSV files", "the reader's `version`"),
}
"""Kind -> summary, and what is raised with a change."""


@dataclass(frozen=True)
class Order:
    """What is to be written.

    Attributes:
        kind: One of `KINDS`.
        names: Of the part.
        family: Of a plugin.
        package: Whether as an installable project.
    """

    kind: str
    names: Names
    family: str = "contrastive"
    package: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder that is written."""
        return self.names.dist if self.package else self.names.name


def families() -> dict[str, Any]:
    """What there is a small method of: family -> words for its card and README."""
    return load_yaml(HERE / "families.yaml")


def write_new(order: Order, parent: Path) -> Path:
    """Write a new part.

    Args:
        order: What.
        parent: Folder in which the new folder is made.

    Returns:
        The new folder.

    Raises:
        UsageMistake: If it exists, or `parent` does not; nothing is overwritten.
        OutputError: If it can't be written; nothing is left behind.
    """
    target = parent / order.folder
    if not parent.is_dir():
        raise UsageMistake(f"no folder {parent}", "Make it, or choose another with --dir.")
    if target.exists() or target.is_symlink():
        raise UsageMistake(f"{target} exists; nothing was written", "Choose another name, or a folder with --dir.")
    try:
        with tempfile.TemporaryDirectory(prefix=TEMP_PREFIX, dir=parent, ignore_cleanup_errors=True) as temp:
            draft = Path(temp) / order.folder
            for name, text in _files(order).items():
                path = draft / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            draft.rename(target)
    except OSError as error:
        raise output_error(target, error) from None
    return target


def _files(order: Order) -> dict[str, str]:
    """Relative path -> text."""
    part = _plugin(order) if order.kind == "plugin" else _part(order)
    if not order.package:
        return part
    names = order.names
    home = f"src/{names.package}/" + (f"{names.module}/" if order.kind == "plugin" else "")
    moved = {f"{home}{path}": text for path, text in part.items() if path != "registry.yaml"}
    if order.kind != "plugin":
        del moved[f"{home}README.md"]
    tests = f"tests/test_{names.module}.py"
    return {
        **{path: _render(f"project/{template}.j2", order) for path, template in (
            ("pyproject.toml", "pyproject.toml"), ("README.md", "README.md"), (".gitignore", "gitignore"),
            (".github/workflows/tests.yml", "tests.yml"), (tests, "test_contract.py"))},
        f"src/{names.package}/__init__.py": f'"""{_context(order)["summary"]}, for ssl-skel."""\n', **moved}


def _plugin(order: Order) -> dict[str, str]:
    return {"plugin.yaml": _render("plugin.yaml.j2", order), "README.md": _render("plugin.md.j2", order),
            "plugin.py": _render(f"methods/{order.family}.py.j2", order)}


def _part(order: Order) -> dict[str, str]:
    return {"registry.yaml": _render("registry.yaml.j2", order), "README.md": _render("part.md.j2", order),
            f"{order.kind}.py": _render(f"{order.kind}.py.j2", order)}


def _context(order: Order) -> dict[str, Any]:
    names, kind = order.names, order.kind
    attribute = "CARD" if kind == "dataset" else names.cls
    found = {"name": names.name, "module": names.module, "cls": names.cls, "package": names.package,
             "dist": names.dist, "kind": kind, "family": order.family, "suite": __version__, "attribute": attribute}
    if kind == "plugin":
        text = families()[order.family]
        return {**found, "text": text, "summary": text["summary"], "point": f"{names.package}.{names.module}"}
    summary, versioned = PARTS[kind]
    return {**found, "summary": summary, "what": f"{summary}: a small {kind} that works, to start from.",
            "versioned": versioned, "point": f"{names.package}.{kind}:{attribute}"}


def _render(template: str, order: Order) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Not HTML; all that is filled in is the suite's own text or a checked name.
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined,
                              keep_trailing_newline=True)
    return environment.get_template(template).render(**_context(order))
