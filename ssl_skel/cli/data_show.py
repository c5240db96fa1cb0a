"""The table form of ``ssl-skel data show``."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ssl_skel.cli.words import dropped_line

BAR = 40


def render(facts: dict[str, Any], console: Console | None = None) -> None:
    """Print the facts of a dataset.

    Args:
        facts: From `describe.show_dataset`.
        console: Where to; default: standard output.
    """
    console = console or Console()
    console.print(_overview(facts))
    console.print(_splits(facts["splits"]))
    console.print(_classes(facts))
    if "frames" in facts:
        console.print(_tally("subject", facts["per_subject"]))
        console.print(_histogram(facts["frames"]))
    console.print(_families(facts["preprocessing"]))


def _overview(facts: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = [("dataset", f"{facts['name']}: {facts['title']}"), ("state", facts["state"])]
    if facts["todo"]:
        rows.append(("to do", facts["todo"]))
    if "frames" in facts:
        frames = facts["frames"]
        rows += [
            ("where", facts["path"] or "in memory"), ("digest", facts["digest"]), ("origin", _origin(facts)),
            ("clips", f"{facts['clips']}, {frames['total']} frames (min {frames['min']}, median "
                      f"{frames['median']:g}, max {frames['max']})"),
            ("persons", ", ".join(f"{count} clips with {number}" for number, count in facts["per_persons"].items())),
            ("views", ", ".join(f"{view}: {count}" for view, count in facts["per_view"].items() if view != "0")),
            ("report", _report(facts["report"])),
        ]
    rows += [("skeleton", f"{facts['layout']}, {facts['joints']} joints, up to {facts['persons']} persons"),
             ("source", facts["source"]), ("licence", facts["licence"]), ("terms", facts["terms"]),
             ("citation", facts["citation"]), *(("note", note) for note in facts["notes"]),
             *(("group", f"{facts['name']}/{name} stands for {', '.join(members)}")
               for name, members in facts["groups"].items())]
    for name, value in rows:
        if value:
            table.add_row(name, escape(str(value)))
    return table


def _origin(facts: dict[str, Any]) -> str:
    raw = facts["raw"]
    reader = f", reader version {raw['reader_version']}" if "reader_version" in raw else ""
    policy = f", {raw['policy']}" if raw.get("policy") else ""
    return f"{facts['origin']}: {raw.get('path', '')}{reader}{policy}; {facts['created_by']}"


def _report(report: dict[str, Any]) -> str:
    dropped = "".join(f", {dropped_line(rule, count)}" for rule, count in report["dropped"].items())
    return f"{report['files']} files, {report['kept']} clips kept{dropped}, {report['unreadable']} unreadable"


def _splits(splits: list[dict[str, Any]]) -> Table:
    table = Table("split", "train", "held out", "test", "expected", "what", box=box.SIMPLE_HEAD)
    for split in splits:
        expected = "/".join(map(str, split["expected"])) if split["expected"] else ""
        what = split["description"]
        what += f". LEAK: {split['known_leak']}" if split["known_leak"] else ""
        what += f"; use {split['clean_twin']}" if split["clean_twin"] else ""
        what += f". {split['problem']}" if "problem" in split else ""
        table.add_row(split["name"], *(str(split.get(part, "")) for part in ("train", "val", "test")), expected,
                      escape(what))
    return table


def _classes(facts: dict[str, Any]) -> Table:
    table = Table("label", "class", "clips", box=box.SIMPLE_HEAD)
    counts = facts.get("per_class", [""] * len(facts["class_names"]))
    for label, (name, count) in enumerate(zip(facts["class_names"], counts)):
        table.add_row(str(label), escape(name), str(count))
    return table


def _tally(what: str, counts: dict[str, int]) -> Table:
    table = Table(what, "clips", box=box.SIMPLE_HEAD)
    for value, count in counts.items():
        table.add_row(value, str(count))
    return table


def _histogram(frames: dict[str, Any]) -> Table:
    table = Table("frames", "clips", "", box=box.SIMPLE_HEAD)
    most = max(bin_["clips"] for bin_ in frames["histogram"])
    for bin_ in frames["histogram"]:
        bar = "#" * round(BAR * bin_["clips"] / most)
        table.add_row(f"{bin_['from']}-{bin_['below'] - 1}", str(bin_["clips"]), bar)
    return table


def _families(preprocessing: dict[str, Any]) -> Table:
    table = Table("preprocessing", "what", "used by", box=box.SIMPLE_HEAD)
    for name, note in preprocessing["families"].items():
        mark = " (default)" if name == preprocessing["default"] else ""
        table.add_row(f"{name} {note['version']}{mark}", escape(note["what"]), escape(note["used_by"]))
    return table
