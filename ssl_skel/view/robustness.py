"""Accuracy under corruption: a panel a corruption, a line a row of the board, from stored records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssl_skel.bench.record import Record, method_name
from ssl_skel.errors import DataMissing, UsageMistake
from ssl_skel.view import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVALUATOR = "robustness"
LINES = 10
SIZES = {"noise": "sd, share of a bone", "joints": "share of joints lost", "part": "share of the clip occluded",
         "frames": "share of frames lost", "rate": "frame rate divided by", "view": "degrees turned",
         "person": "share of the clip without"}
WIDTH, TALL, COLUMNS = 2.7, 2.1, 4


@dataclass(frozen=True)
class Row:
    """One line of every panel.

    Attributes:
        name: Method, backbone, streams.
        clean: Accuracies on clean clips, one a seed.
        curves: Corruption -> (seeds, severities) accuracies, fractions.
    """

    name: str
    clean: list[float]
    curves: dict[str, list[list[float]]]


def gather(records: Sequence[Record], dataset: str = "") -> tuple[str, list[Row], int]:
    """Collect the robustness records of one dataset and split.

    Args:
        records: Any.
        dataset: ``name/split``; "" where all are of one.

    Returns:
        ``name/split``, its rows with seeds together, the best first, and the number of classes.

    Raises:
        DataMissing: If there are none.
        UsageMistake: If several datasets or splits are meant.
    """
    mine = [record for record in records if record.cell.evaluator == EVALUATOR]
    places = sorted({f"{record.cell.dataset}/{record.cell.split}" for record in mine})
    if not mine:
        raise DataMissing("no record of the robustness protocol", "Run `ssl-skel bench run ... -e robustness` first.")
    if (dataset and dataset not in places) or (not dataset and len(places) > 1):
        raise UsageMistake(f"robustness records are of {', '.join(places)}", "Choose one with -d.")
    place = dataset or places[0]
    rows: dict[str, Row] = {}
    for record in mine:
        if f"{record.cell.dataset}/{record.cell.split}" == place:
            _add(rows, record)
    ordered = sorted(rows.values(), key=lambda row: -float(np.mean(row.clean)))
    return place, ordered, mine[0].num_classes


def _add(rows: dict[str, Row], record: Record) -> None:
    cell = record.cell
    name = method_name(cell.plugin, cell.label)
    fused = f", {cell.fusion}" if cell.fusion != "single" else ""
    row = rows.setdefault(f"{name}, {cell.backbone}, {cell.streams}{fused}", Row(
        f"{name}, {cell.backbone}, {cell.streams}{fused}", [], {}))
    row.clean.append(record.metrics["top1"])
    curves: dict[str, dict[int, float]] = {}
    for key, value in record.metrics.items():
        corruption, _, rest = key.partition("/")
        severity = rest.removesuffix("/top1")
        if rest.endswith("/top1") and severity.isdecimal():
            curves.setdefault(corruption, {})[int(severity)] = value
    for corruption, points in curves.items():
        row.curves.setdefault(corruption, []).append([points[severity] for severity in sorted(points)])


def draw_robustness(place: str, rows: list[Row], classes: int) -> Figure:
    """Draw the curves of at most ten rows.

    Args:
        place: ``dataset/split``.
        rows: The best first; from `gather`.
        classes: For the level of chance.

    Returns:
        A figure. Call inside `style.styled`.
    """
    from matplotlib.figure import Figure

    shown = rows[:LINES]
    corruptions = list(dict.fromkeys(name for row in shown for name in row.curves))
    columns = min(COLUMNS, max(len(corruptions), 1))
    lines = -(-len(corruptions) // columns)
    legend = 0.1 + 0.19 * len(shown)
    width, height = max(columns * WIDTH + 0.5, 6.0), 1.15 + lines * (TALL + 0.75) + legend
    figure = Figure(figsize=(width, height))
    left_out = f", the best {LINES} of {len(rows)} rows" if len(rows) > LINES else ""
    style.headline(figure, f"Robustness on {place}", "top-1 of a probe fitted on clean clips, mean over seeds; dotted: "
                                                     f"chance{left_out}")
    top = max(value for row in shown for value in
              [float(np.mean(row.clean)), *(float(np.mean(c, axis=0).max()) for c in row.curves.values())])
    for number, corruption in enumerate(corruptions):
        left, above = 0.55 + (number % columns) * WIDTH, 1.05 + (number // columns) * (TALL + 0.75)
        axes = figure.add_axes((left / width, 1 - (above + TALL) / height, (WIDTH - 0.5) / width, TALL / height))
        _panel(axes, corruption, shown, 1 / classes)
        axes.set_ylim(0, 105 * top)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.16 / width, 0.05 / height), ncols=1)
    return figure


def _panel(axes: Axes, corruption: str, rows: list[Row], chance: float) -> None:
    from ssl_skel.evaluators.corruptions import CORRUPTIONS

    axes.set_title(corruption)
    axes.axhline(100 * chance, color=style.QUIET, linestyle=":", linewidth=1.0)
    severities = 0
    for number, row in enumerate(rows):
        if corruption not in row.curves:
            continue
        curve = 100 * np.concatenate([[np.mean(row.clean)], np.mean(row.curves[corruption], axis=0)])
        colour, marker = style.category(number)
        axes.plot(curve, color=colour, marker=marker, markersize=4, markeredgewidth=0, label=style.plain(row.name))
        severities = max(severities, len(curve) - 1)
    sizes = CORRUPTIONS[corruption][1] if corruption in CORRUPTIONS else tuple(range(1, severities + 1))
    axes.set_xticks(range(severities + 1), ["clean", *(f"{size:g}" for size in sizes[:severities])])
    axes.set_xlabel(SIZES.get(corruption, "severity"), size=8)
    axes.grid(axis="y")
    axes.tick_params(length=0)
