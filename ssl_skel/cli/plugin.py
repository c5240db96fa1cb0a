"""``ssl-skel plugin``: list, show and check what can be chosen by name; nothing is imported for a list."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ssl_skel.cli import options
from ssl_skel.cli.main import LazyGroup
from ssl_skel.errors import ContractFailed, SkelError, UsageMistake, one_line
from ssl_skel.inspection import check_import, static_problem
from ssl_skel.registry import KINDS, Catalogue, Entry, discover

if TYPE_CHECKING:
    from ssl_skel.contract.subject import Subject

WIDTH = 150
"""Of a table that goes to a file or a pipe."""

COLUMNS = ("name", "version", "family", "origin", "state", "summary")


@click.group(cls=LazyGroup, lazy={
    "new": ("ssl_skel.cli.plugin_new:new", "Write a plugin, backbone, evaluator or dataset to start from."),
})
def plugin() -> None:
    """Write, list, show and check pretext tasks, and the other parts that a package can bring."""


@plugin.command("list")
@click.option("--kind", type=click.Choice(KINDS), default="plugins", show_default=True, help="What to list.")
@click.option("--import", "really", is_flag=True, help="Import every entry to see whether it can be used.")
@options.plugins
@options.as_json
def list_(kind: str, really: bool, plugin_paths: tuple[str, ...], as_json: bool) -> None:
    """List what is registered, with origin and state; broken entries say why.

    Nothing is imported: code that fails only when it runs is found by `plugin check`, or with --import.
    """
    catalogue = discover(plugin_paths)
    entries = [*catalogue.entries(kind), *(entry for entry in catalogue.broken if entry.kind == kind)]
    rows = [_row(entry, check_import if really else static_problem) for entry in entries]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f"{len(rows)} {kind}", title_justify="left")
    columns = [name for name in COLUMNS if any(row[name] for row in rows)]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(one_line(str(row["brought" if cell == "origin" else cell]))) for cell in columns))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    for origin in dict.fromkeys(row["origin"] for row in rows):
        names = ", ".join(row["name"] for row in rows if row["origin"] == origin)
        console.print(escape(f"from {origin}: {names}"), soft_wrap=True)
    for row in rows:
        if row["error"]:
            console.print(f"[red]broken[/] {escape(row['name'])} ({escape(row['origin'])}): {escape(row['error'])}",
                          soft_wrap=True)


def _row(entry: Entry, find_problem: Callable[[Entry], str]) -> dict[str, Any]:
    card, error = entry.card, find_problem(entry)
    brought = "ssl_skel" if entry.shipped else entry.distribution or "--plugins"
    return {"name": entry.name, "version": _version(entry), "family": card.family if card else "",
            "state": "broken" if error else "ok", "summary": entry.summary, "origin": entry.origin,
            "brought": brought, "distribution": entry.distribution, "error": error}


def _version(entry: Entry) -> int | str:
    try:
        return entry.version or ""
    except SkelError:  # its source does not parse: the row says so
        return ""


@plugin.command()
@click.argument("name")
@options.plugins
@options.as_json
def show(name: str, plugin_paths: tuple[str, ...], as_json: bool) -> None:
    """Show a plugin's card, where it lies, and the digest of its code."""
    catalogue: Catalogue = discover(plugin_paths)
    entry = catalogue.get("plugins", name)
    assert entry.card is not None  # usable entries have one
    data = {"origin": entry.origin, "folder": str(entry.folder), "digest": entry.digest(),
            "card": entry.card.model_dump(mode="json", by_alias=True, exclude_none=True)}
    if as_json:
        click.echo(json.dumps(data, indent=1))
        return
    import yaml

    click.echo(one_line(f"{entry.name} {entry.card.version}: {entry.card.summary}"))
    click.echo(f"origin  {entry.origin}\nfolder  {entry.folder}\ndigest  {data['digest']}\n")
    click.echo(yaml.safe_dump(data["card"], sort_keys=False, allow_unicode=True, width=100).rstrip())


@plugin.command()
@click.argument("names", nargs=-1)
@click.option("--layout", default="kinect_v2_25", show_default=True, help="Joints of the clips.")
@click.option("--persons", type=click.IntRange(1), default=1, show_default=True, help="Persons in each clip.")
@click.option("--frames", type=click.IntRange(1), default=64, show_default=True, help="Frames of each clip.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Clips a pass.")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
@options.plugins
@options.as_json
def backbones(names: tuple[str, ...], layout: str, persons: int, frames: int, batch: int, device: str,
              plugin_paths: tuple[str, ...], as_json: bool) -> None:
    """Print parameters, operations and clips per second of each backbone (or of NAMES), as it is by default."""
    from ssl_skel.bench.backbone_table import as_rows, backbone_table
    from ssl_skel.data.layouts import get_layout
    from ssl_skel.runtime import pick_device

    rows = as_rows(backbone_table(discover(plugin_paths), get_layout(layout, persons), frames, batch,
                                  device=pick_device(device), names=names))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo(f"{persons} person(s) x {frames} frames of {layout}, {batch} clips a pass, {device}, encoding only\n")
    click.echo(f"{'backbone':14}{'version':>8}{'dim':>7}{'parameters':>13}{'GFLOP/clip':>12}{'clips/s':>10}")
    for row in rows:
        click.echo(f"{row['name']:14}{row['version']:>8}" + (f"  refused: {row['refused']}" if row["refused"] else
                   f"{row['dim']:>7}{row['parameters']:>13,}{row['gflops']:>12.3f}{row['clips_per_s']:>10.1f}"))


@plugin.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["plugin", "backbone", "evaluator", "dataset"]), default="plugin",
              show_default=True, help="What NAME is.")
@click.option("--level", type=click.Choice(["card", "api", "train", "full"]), default="train", show_default=True,
              help="How deep to check a plugin.")
@click.option("-b", "--backbone", default="", help="Check a plugin with this backbone instead of the default.")
@click.option("--pin", is_flag=True, help="Write a plugin's expected.json from what is measured now.")
@options.plugins
@options.as_json
def check(name: str, kind: str, level: str, backbone: str, pin: bool, plugin_paths: tuple[str, ...],
          as_json: bool) -> None:
    """Check a plugin, or another part, against its contract; exit code 3 if it breaks it."""
    if kind != "plugin" and (pin or backbone):
        raise UsageMistake(f"--pin and --backbone are for plugins, not for a {kind}", "Leave them out.")
    from ssl_skel.check import passed, run_checks
    from ssl_skel.contract.subject import Subject

    catalogue = discover(plugin_paths)
    broken = [entry for entry in catalogue.broken if (entry.kind, entry.name) == (f"{kind}s", name)]
    entry = broken[0] if broken and kind == "plugin" else catalogue.get(f"{kind}s", name)
    subject = Subject(entry, catalogue, backbone)
    if pin:
        _pin(subject)
    outcomes = []
    for outcome in run_checks(subject, level):
        outcomes.append(outcome)
        if not as_json:
            click.echo(f"{outcome.state:8}  {outcome.check}" + (f": {outcome.message}" if outcome.message else ""))
    if as_json:
        click.echo(json.dumps([vars(outcome) for outcome in outcomes], indent=1))
    if not passed(outcomes):
        raise ContractFailed(f"{kind} {name!r} breaks the contract", "See the failed checks above.")


def _pin(subject: Subject) -> None:
    """Write ``expected.json`` beside the plugin's card."""
    from ssl_skel.contract.training import measure_pinned
    from ssl_skel.fsio import write_atomic

    if subject.entry.folder:
        values = json.dumps(measure_pinned(subject), indent=1)
        write_atomic(subject.entry.folder / "expected.json", values + "\n")
        click.echo(f"pinned {values}")
