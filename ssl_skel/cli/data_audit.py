"""``ssl-skel data audit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ssl_skel.cli import options


@click.command()
@click.argument("dataset")
@click.option("--against", metavar="DATASET", help="Also look for its test clips among DATASET's training clips.")
@options.data_root
@options.out
@options.as_json
def audit(dataset: str, against: str | None, data_root: Path, out: Path, as_json: bool) -> None:
    """Look for duplicates, leaks and broken clips in DATASET.

    Prints what it found and writes OUT/audit/DATASET/audit.json and a page of pictures of the worst clips.
    """
    from rich.console import Console

    from ssl_skel.data.audit.page import render_page
    from ssl_skel.data.audit.run import audit_dataset
    from ssl_skel.data.dataset import open_dataset
    from ssl_skel.data.store_write import writing
    from ssl_skel.fsio import write_atomic

    opened = open_dataset(dataset, data_root)
    other = (against, open_dataset(against, data_root)) if against else None
    console = Console(stderr=True)
    with console.status(f"opening {dataset}") as status:
        report = audit_dataset(dataset, opened, other, stage=lambda text: status.update(f"{dataset}: {text}"))
    folder = out / "audit" / dataset
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "audit.json", json.dumps(report, indent=1) + "\n")
        write_atomic(folder / "index.html", render_page(report, opened.store))
    if as_json:
        click.echo(json.dumps(report))
        return
    _show(report)
    click.echo(f"wrote {folder / 'audit.json'} and {folder / 'index.html'}")


def _show(report: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("split", "train", "test", "copies", "shared frames", "nearly the same", "overlap",
                  box=box.SIMPLE_HEAD, title=f"{report['dataset']}: test clips that training saw")
    for split in report["splits"]:
        if "problem" in split:
            table.add_row(split["name"], split["problem"])
            continue
        overlap = split["overlap"]
        cells = (split["train"], split["test"], split["duplicates"]["test_clips"], split["shared_frames"]["test_clips"],
                 split["near"]["test_clips"], len(overlap["values"]) if overlap["column"] else "-")
        table.add_row(split["name"], *map(str, cells))
    console.print(table)
    table = Table("check", "clips", "worst", "what", box=box.SIMPLE_HEAD)
    for check in report["checks"]:
        worst = f"{check['worst'][0][0]} ({check['worst'][0][1]:.3g})" if check["worst"] else ""
        table.add_row(check["name"], str(check["flagged"]), worst, check["what"])
    console.print(table)
    for line in report["findings"]:
        click.echo(f"found: {line}")
    if not report["findings"]:
        click.echo("found nothing")
