"""``ssl-skel bench clean`` and ``data clean``: room on the disk, without a finished number lost."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssl_skel.cli import options
from ssl_skel.errors import UsageMistake

if TYPE_CHECKING:
    from ssl_skel.leftovers import Leftover

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

dry_run = click.option("--dry-run", is_flag=True, help="Say what would be deleted and delete nothing.")


def _bytes(context: click.Context, option: click.Parameter, value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([KMGT]?)B?", value.strip().upper())
    if not found:
        raise UsageMistake(f"--keep {value[:40]!r} is no size", "For example --keep 5G.")
    return round(float(found[1]) * _UNITS[found[2]])


@click.command()
@options.out
@click.option("--keep", default="0", callback=_bytes, metavar="SIZE", help="Cached features that stay, e.g. 5G.")
@click.option("--checkpoints", is_flag=True, help="Also those of unfinished pretrainings, which then begin anew.")
@dry_run
@options.as_json
def bench(out: Path, keep: int, checkpoints: bool, dry_run: bool, as_json: bool) -> None:
    """Delete cached features, checkpoints that are of no more use and temporary files from --out.

    Records, predictions, cards, curves, encoders and boards are never deleted. Features are extracted again when an
    evaluation needs them.
    """
    from ssl_skel.bench.holders import held
    from ssl_skel.leftovers import of_runs

    _clean(of_runs(out, keep, checkpoints, held(out) if out.is_dir() else ()), out, dry_run, as_json)


@click.command()
@options.data_root
@dry_run
@options.as_json
def data(data_root: Path, dry_run: bool, as_json: bool) -> None:
    """Delete what unfinished `data prepare` runs left under --data-root. Prepared datasets are never deleted."""
    from ssl_skel.leftovers import of_data

    _clean(of_data(data_root), data_root, dry_run, as_json)


def _clean(found: Sequence[Leftover], root: Path, dry_run: bool, as_json: bool) -> None:
    from ssl_skel.leftovers import delete

    if not root.is_dir():
        raise UsageMistake(f"{root} is no folder")
    if not dry_run:
        delete(found)
    total = sum(one.size for one in found)
    if as_json:
        click.echo(json.dumps({"deleted": not dry_run, "bytes": total, "files": [
            {"path": str(one.path), "bytes": one.size, "what": one.what} for one in found]}, indent=1))
        return
    for one in found:
        click.echo(f"{one.what:14}{one.size / 1e6:10.1f} MB  {one.path}")
    click.echo(f"{root}: {len(found)} files, {total / 1e6:.1f} MB {'would be' if dry_run else 'were'} deleted")
