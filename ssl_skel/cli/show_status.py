"""Prints how far an output folder has come, once or until nothing is missing."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click


def show_status(out: Path, as_json: bool) -> None:
    """Print the status once.

    Args:
        out: Output folder.
        as_json: As one JSON object.

    Raises:
        DataMissing: If the folder holds no plan.
    """
    from ssl_skel.bench.status import status_of

    found = status_of(out)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(_lines(found)))


def watch_status(out: Path, every: float, as_json: bool) -> None:
    """Show the status until nothing is missing: on a terminal in place, else whenever it has changed.

    Args:
        out: Output folder.
        every: Seconds between two looks.
        as_json: One JSON object a line.

    Raises:
        DataMissing: If the folder holds no plan.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from ssl_skel.bench.status import status_of

    found, told = status_of(out), ""
    live = sys.stdout.isatty() and not as_json
    with Live(console=Console(), auto_refresh=False) as screen:
        while True:
            text = json.dumps(found) if as_json else "\n".join(_lines(found))
            if live:
                screen.update(Text(text), refresh=True)
            elif text != told:
                click.echo(told := text)
            if not (found["missing"] or found["running"]):  # what failed before may be running again
                return
            time.sleep(every)
            found = status_of(out)


def _lines(found: dict[str, Any]) -> list[str]:
    sources = found["pretrainings"]
    lines = [f"{found['suite']}: {found['done']} of {found['planned']} cells done, {found['failed']} failed, "
             f"{found['missing']} missing; {sources['done']} of {sources['planned']} pretrainings done"]
    for row in found["running"]:
        step = f", step {row['step']}" if row["step"] is not None else ""
        since = f" for {_span(row['seconds'])}" if row["seconds"] is not None else ""
        lines.append(f"  running  {row['title']}: on {row['where']}{since}{step}")
    for failure in found["failures"]:
        lines.append(f"  {failure['status']}  {failure['title']}: {failure['message']}")
    if found["missing"]:
        eta = found["eta_s"]
        lines.append("  time left: unknown until a cell of each kind is done" if eta is None else
                     f"  time left: about {_span(eta)}" + ("" if found["running"] else ", once it is run"))
    return lines


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
