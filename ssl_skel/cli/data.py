"""``ssl-skel data``: list, show, prepare, verify; import and audit stand in files of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssl_skel.cli import options
from ssl_skel.cli.main import LazyGroup
from ssl_skel.cli.words import dropped_line

if TYPE_CHECKING:
    from ssl_skel.data.prepare import Prepared


@click.group(cls=LazyGroup, lazy={
    "import": ("ssl_skel.cli.data_import:import_data", "Bring in a preprocessed dataset that you already hold."),
    "labels": ("ssl_skel.cli.data_labels:labels", "Write which clips are labelled in semi-supervised evaluation."),
    "audit": ("ssl_skel.cli.data_audit:audit", "Look for duplicates, leaks and broken clips."),
    "clean": ("ssl_skel.cli.clean:data", "Delete what unfinished preparations left."),
})
def data() -> None:
    """Prepare, verify, show and audit datasets."""


@data.command("list")
@options.data_root
@options.as_json
def list_command(data_root: Path, as_json: bool) -> None:
    """Show which datasets are prepared, where, and what the others need."""
    from ssl_skel.data.describe import list_datasets

    entries = list_datasets(data_root)
    if as_json:
        click.echo(json.dumps(entries, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("dataset", "state", "clips", "classes", "joints", "persons", box=box.SIMPLE_HEAD)
    for entry in entries:
        cells = (entry[key] for key in ("name", "state", "clips", "classes", "joints", "persons"))
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in cells))
    console = Console()
    console.print(table)
    for entry in entries:
        todo = "" if entry["state"] == "not prepared" else entry["todo"]
        where = todo or entry["path"] or "; ".join(filter(None, (entry["source"], entry["terms"])))
        console.print(f"[bold]{escape(entry['name'])}[/]: {escape(where)}", soft_wrap=True, highlight=False)


@data.command()
@click.argument("dataset")
@options.data_root
@options.as_json
def show(dataset: str, data_root: Path, as_json: bool) -> None:
    """Show all that is known of DATASET.

    Classes, counts, lengths, splits, preprocessing, digest, licence note and citation.
    """
    from ssl_skel.data.describe import show_dataset

    facts = show_dataset(dataset, data_root)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    from ssl_skel.cli.data_show import render

    render(facts)


@data.command()
@click.argument("dataset")
@click.option("--raw", type=click.Path(path_type=Path, readable=False), required=True, help="Folder of the raw files.")
@options.data_root
@click.option("--workers", type=click.IntRange(1), default=lambda: len(os.sched_getaffinity(0)),
              help="Processes that read [default: one a core].")
@click.option("--strict", is_flag=True, help="Fail on the first file or clip that can't be read.")
@click.option("--force", is_flag=True, help="Prepare again what is prepared.")
def prepare(dataset: str, raw: Path, data_root: Path, workers: int, strict: bool, force: bool) -> None:
    """Turn the raw files of DATASET into its store.

    Safe to kill and to run again: it goes on where it stopped.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ssl_skel.data.catalog import get_card
    from ssl_skel.data.prepare import prepare as run

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files"),
               TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(dataset, start=False, total=None, rate="")
        seen = {"files": 0, "bytes": 0}

        def started(files: int, done_before: int) -> None:
            bar.start_task(task)
            bar.update(task, total=files, completed=done_before)

        def progress(files: int, size: int) -> None:
            seen["files"] += files
            seen["bytes"] += size
            seconds = max(bar.tasks[0].elapsed or 0.0, 1e-3)
            rate = f"{seen['files'] / seconds:.0f} files/s  {seen['bytes'] / seconds / 1e6:.1f} MB/s"
            bar.update(task, advance=files, rate=rate)

        done = run(get_card(dataset), raw, data_root, workers=workers, strict=strict, force=force,
                   progress=progress, started=started)
    _report(done)


def _report(done: Prepared) -> None:
    from ssl_skel.data.seen import unseen

    store, report = done.store, done.report
    if not done.fresh:
        click.echo(f"{store.path} is prepared already, from the same files; --force does it again")
    click.echo(f"{report.files} files read, {report.kept} clips kept")
    for rule, count in report.dropped_by_rule.items():
        click.echo(dropped_line(rule, count))
    for name, why in report.unreadable[:20]:
        click.echo(f"unreadable: {why}" if name in why else f"unreadable: {name}: {why}")
    if len(report.unreadable) > 20:
        click.echo(f"... and {len(report.unreadable) - 20} more; all are in {store.path / 'report.json'}")
    for line in unseen(store):
        click.echo(f"warning: {line}")
    click.echo(f"digest {store.digest}")
    click.echo(f"wrote {store.path}" if done.fresh else f"store {store.path}")


@data.command()
@click.argument("dataset")
@options.data_root
@options.as_json
def verify(dataset: str, data_root: Path, as_json: bool) -> None:
    """Check DATASET against its digests and counts.

    Reads every byte, and compares the splits with the sizes that the complete dataset gives. A store that the
    dataset's reader or classes have left behind is no longer right, though its bytes are.
    """
    from ssl_skel.data.dataset import open_dataset
    from ssl_skel.data.describe import show_dataset
    from ssl_skel.data.outdated import outdated
    from ssl_skel.errors import DigestMismatch

    opened = open_dataset(dataset, data_root)
    store = opened.store
    if store.meta["origin"] != "generated":
        store.verify()
    if reason := outdated(store, opened.card):
        raise DigestMismatch(reason)
    splits = show_dataset(dataset, data_root)["splits"]
    if as_json:
        click.echo(json.dumps({"dataset": dataset, "digest": store.digest, "clips": len(store), "splits": splits}))
        return
    click.echo(f"{dataset}: {len(store)} clips, every file as written, digest {store.digest}")
    for split in splits:
        click.echo(_split_line(split))


def _split_line(split: dict[str, Any]) -> str:
    if "problem" in split:
        return f"  {split['name']}: {split['problem']}"
    count = f"  {split['name']}: {split['train']} train ({split['val']} of them held out), {split['test']} test"
    if split["complete"]:
        return count + (", as published" if split["expected"] else "")
    return count + f"; the complete dataset has {split['expected'][0]} and {split['expected'][1]}"
