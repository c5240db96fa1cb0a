"""Time and memory of a pretraining step against points, clouds and neighbours, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_skel.errors import UsageMistake
from ssl_skel.view.output import PICTURES, save
from ssl_skel.view.style import FAINT, INK, styled

AXES = {"points": "points a cloud", "batch": "clouds a step", "k": "neighbours k"}
TIME, MEMORY = "#1b6ca8", "#b5532a"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rows of `speed_scc.scc_scaling` on logarithmic axes, with a line of slope 1 for comparison.

    Args:
        rows: With ``axis, batch, points, k, seconds, peak_mb``.
        path: Ends in .svg or .png; the same rows give the same bytes.

    Raises:
        UsageMistake: If the suffix is another.
        OutputError: If the file can't be written.
    """
    import matplotlib

    if path.suffix not in PICTURES:
        raise UsageMistake(f"no picture of the kind {path.suffix!r}", "Use .svg or .png.")
    with styled(), matplotlib.rc_context({"svg.fonttype": "none"}):
        save(_figure(rows), path, "Time and memory of a pretraining step")


def _figure(rows: list[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, 3, sharey="row")
    for column, (axis, label) in enumerate(AXES.items()):
        chosen = [row for row in rows if row["axis"] == axis]
        size = [row[axis] for row in chosen]
        for panel, key, colour in ((panels[0, column], "seconds", TIME), (panels[1, column], "peak_mb", MEMORY)):
            _panel(panel, size, [row[key] for row in chosen], colour)
        panels[1, column].set_xlabel(label)
    panels[0, 0].set_ylabel("seconds a step")
    panels[1, 0].set_ylabel("peak memory, MB")
    panels[0, 0].legend()
    return figure


def _panel(panel: Any, size: list[int], values: list[float], colour: str) -> None:
    panel.plot(size, [values[-1] * x / size[-1] for x in size], ":", color=INK, linewidth=1, label="linear")
    panel.plot(size, values, "o-", color=colour, markersize=4, label="measured")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(size, [f"{x:,}" for x in size])
    panel.minorticks_off()
    panel.grid(True, color=FAINT)
