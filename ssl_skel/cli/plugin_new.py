"""``ssl-skel plugin new``: write a plugin, backbone, evaluator or dataset that works, to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ssl_skel.cli import options
from ssl_skel.errors import UnknownName, UsageMistake
from ssl_skel.registry import discover
from ssl_skel.scaffold.names import new_name
from ssl_skel.scaffold.write import KINDS, Order, families, write_new


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="plugin",
              show_default=True, help="What to write.")
@click.option("--family", default=None, help="Of a plugin: contrastive (default), distillation, decorrelation, masked "
                                             "or predictive.")
@click.option("--package", is_flag=True, help="Write an installable project with entry point, tests and CI.")
@click.option("--dir", "parent", type=click.Path(path_type=Path), default=Path(), show_default="here",
              help="Folder in which the new folder is made.")
@options.plugins
def new(name: str, kind: str, family: str | None, package: bool, parent: Path, plugin_paths: tuple[str, ...]) -> None:
    """Write a small NAME that works and keeps the contract, to start from.

    A folder NAME, or with --package a project ssl-skel-NAME. Nothing that exists is touched.
    """
    if family is not None and kind != "plugin":
        raise UsageMistake(f"--family is for plugins, not for a {kind}", "Leave it out.")
    known = families()
    if family is not None and family not in known:
        raise UnknownName("family", family, known)
    order = Order(kind, new_name(name, kind, discover(plugin_paths)), family or "contrastive", package)
    folder = write_new(order, parent)
    click.echo(f"wrote {folder}")
    for path in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        click.echo(f"  {path}")
    click.echo(f"\nnext: {_next(order, folder)}")


def _next(order: Order, folder: Path) -> str:
    kind = "" if order.kind == "plugin" else f" --kind {order.kind}"
    if order.package:
        return f"pip install -e '{folder}[test]' && pytest {folder}"
    return f"ssl-skel plugin check {order.names.name}{kind} --plugins {folder}"
