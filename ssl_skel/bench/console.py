"""What a run shows: JSON events, rich progress on a terminal, or one plain line an event."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ssl_skel.bench.grid import Listener


def make_listener(as_json: bool) -> Listener:
    """Choose how to show events.

    Args:
        as_json: One JSON object a line on stdout.
    """
    if as_json:
        return _json_event
    return _Terminal() if sys.stderr.isatty() else _plain


def silent(name: str, values: Mapping[str, Any]) -> None:
    """Show nothing."""


def _json_event(name: str, values: Mapping[str, Any]) -> None:
    if name != "stop":
        print(json.dumps({"event": name, **values}), flush=True)


def _plain(name: str, values: Mapping[str, Any]) -> None:
    """Quiet output for logs and pipes: beginnings, endings, warnings, the report; no progress."""
    if name == "end":
        mark = "done" if values["status"] == "ok" else values["status"]
        tail = f": {values['message']}" if values["message"] else ""
        print(f"{mark}  {values['title']}{tail}", flush=True)
    elif name == "start":
        print(f"{values['pretrainings']} pretrainings and {values['evaluations']} evaluations to run, "
              f"{values['kept']} records kept", flush=True)
    elif name == "warning" or (name == "progress" and "warning" in values):
        print(f"warning: {values['message']}", flush=True)
    elif name == "report":
        _report(values, print)


def _report(values: Mapping[str, Any], say: Any) -> None:
    for refusal in values["refused"]:
        say(f"refused: {refusal['plugin']} on {refusal['dataset']}: {refusal['reason']}")
    for reason in values["missing"].values():
        say(f"missing: {reason}")
    for failure in values["failures"]:
        cell = f"{failure['plugin']} on {failure['dataset']}, {failure['stage']}"
        say(f"{failure['status']}: {cell}: {failure['message']}")
    if values["interrupted"]:
        say("interrupted; the same command goes on from here")
    elif values["failed"]:
        say(f"retry with: {values['retry']}")
    wrote = "wrote" if values["paths"] else "no board in"
    say(f"{values['done']} records, {values['failed']} failed, {values['skipped']} skipped; {wrote} {values['out']}")
    for path in values["paths"]:
        say(f"  {path}")


class _Terminal:
    """A line with a bar for every running cell, below one for all cells of the run."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[info]}"),
            TimeRemainingColumn(), console=self.console, transient=True)
        self.cells = self.progress.add_task("all cells", total=None, info="")
        self.tasks: dict[str, TaskID] = {}
        self.ended = 0

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        if name == "start":
            self.progress.update(self.cells, total=values["pretrainings"] + values["evaluations"])
            self._count()
            self.progress.start()
        elif name == "begin":
            self.tasks[values["id"]] = self.progress.add_task(escape(values["title"]), total=None, info="")
        elif name == "progress":
            self._progress(values)
        elif name == "end":
            self._end(values)
        elif name == "warning":
            self.console.print(f"[yellow]warning[/]: {escape(values['message'])}", soft_wrap=True)
        elif name == "stop":
            self.progress.stop()
        elif name == "report":
            _report(values, lambda text: self.console.print(escape(text), soft_wrap=True))

    def _progress(self, values: Mapping[str, Any]) -> None:
        if "warning" in values:
            self("warning", {"message": values["warning"]})
            return
        task = self.tasks.get(values["id"])
        if task is None:
            return
        if "step" not in values:
            info = values["message"] or values["stage"]
            self.progress.update(task, total=None, completed=0, info=escape(info))
            return
        rate = f"{values['samples_per_s']:.0f} clips/s"
        loss = "" if values.get("loss") is None else f"loss {values['loss']:.4g}"
        stage = "" if values["stage"] == "pretrain" else values["stage"]
        info = "  ".join(filter(None, (escape(stage), f"{values['step']}/{values['total']}", rate, loss)))
        self.progress.update(task, total=values["total"], completed=values["step"], info=info)

    def _end(self, values: Mapping[str, Any]) -> None:
        task = self.tasks.pop(values["id"], None)
        if task is not None:
            self.progress.remove_task(task)
        self.ended += 1
        self._count()
        good = values["status"] == "ok"
        mark = "[green]done[/]" if good else f"[red]{escape(values['status'])}[/]"
        tail = f": {escape(values['message'])}" if values["message"] else ""
        self.console.print(f"{mark}  {escape(values['title'])}{tail}", soft_wrap=True)

    def _count(self) -> None:
        self.progress.update(self.cells, completed=self.ended,
                             info=f"{self.ended}/{self.progress.tasks[0].total or 0:.0f} cells")
