"""Training curves of a run: a panel a pretraining, with every term of its loss and the learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.cards import read_card
from ssl_skel.bench.planfile import read_plan
from ssl_skel.curves import read_curves
from ssl_skel.errors import DataMissing, SkelError
from ssl_skel.view import style
from ssl_skel.view.runs import pretraining_folders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOT_LOSSES = ("step", "epoch", "lr")
COLUMNS, WIDTH, TALL = 2, 4.4, 2.5


@dataclass(frozen=True)
class Curves:
    """What one pretraining logged.

    Attributes:
        title: Which pretraining.
        note: How far it came.
        step: (n,) steps.
        epoch: (n,) epochs.
        lr: (n,) learning rates.
        values: Name -> (n,) logged values, NaN where one was not finite; ``loss`` first.
    """

    title: str
    note: str
    step: NDArray[np.float64]
    epoch: NDArray[np.float64]
    lr: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


def load_curves(run: Path, wanted: tuple[str, ...] = ()) -> list[Curves]:
    """Read the curves of a run, of unfinished pretrainings, too.

    Args:
        run: Output folder.
        wanted: Beginnings of ids, or plugins' names; none for all.

    Raises:
        DataMissing: If there are none.
    """
    found = []
    for folder in pretraining_folders(run):
        lines = read_curves(folder / "curves.jsonl")
        title, plugin, note = _about(run, folder)
        if lines and (not wanted or any(folder.name.startswith(word) or word == plugin for word in wanted)):
            found.append(_curves(title, note, lines))
    if not found:
        what = f" of {', '.join(wanted)}" if wanted else ""
        raise DataMissing(f"{run} holds no training curves{what}", "An untrained floor has none.")
    return found


def _about(run: Path, folder: Path) -> tuple[str, str, str]:
    """Title, plugin and state of a pretraining: from its card, else from the plan, else its id."""
    try:
        cell = read_card(folder).cell
        return cell.title, cell.plugin, ""
    except SkelError:
        pass
    plan = read_plan(run)
    for planned in plan.pretrainings if plan else ():
        if planned.id == folder.name:
            return planned.title, planned.plugin, "not finished"
    return folder.name, "", "not finished"


def _curves(title: str, note: str, lines: list[dict[str, Any]]) -> Curves:
    def column(name: str) -> NDArray[np.float64]:
        return np.array([_number(line.get(name)) for line in lines])

    names = dict.fromkeys(["loss", *(name for line in lines for name in line if name not in _NOT_LOSSES)])
    values = {name: column(name) for name in names}
    shown = {name: value for name, value in values.items() if name == "loss" or np.nanmax(np.abs(value), initial=0) > 0}
    return Curves(title, note, column("step"), column("epoch"), column("lr"), shown)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def smoothed(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Mean over the last `span` finite values at each step, (n,)."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - span, 0)
    count = counts[end] - counts[begin]
    return np.where(count > 0, (sums[end] - sums[begin]) / np.maximum(count, 1), np.nan)


def draw_curves(curves: list[Curves], run: Path) -> Figure:
    """Draw curves, smoothed over a fiftieth of the training, with the raw loss behind.

    Args:
        curves: At least one.
        run: Whose folder's name is told; where it lies is no one else's business.

    Returns:
        A figure. Call inside `style.styled`.
    """
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    width = columns * WIDTH + 0.2
    told = style.wrap(f"{run.resolve().name}; smoothed, the raw loss behind; learning rate below", width - 0.32)
    head = 1.0 + style.taller(told)
    height = head - 0.38 + rows * (TALL + 0.85)
    figure = Figure(figsize=(width, height))
    style.headline(figure, "Training curves", told)
    for number, one in enumerate(curves):
        left, top = 0.62 + (number % columns) * WIDTH, head + (number // columns) * (TALL + 0.85)
        place = (left / width, 1 - (top + TALL - 0.5) / height, (WIDTH - 0.85) / width, (TALL - 0.5) / height)
        axes = figure.add_axes(place)
        below = figure.add_axes((place[0], place[1] - 0.32 / height, place[2], 0.24 / height), sharex=axes)
        _panel(axes, below, one)
    return figure


def _panel(axes: Axes, below: Axes, curves: Curves) -> None:
    title = style.shortened([curves.title], 58)[0]
    axes.set_title(style.plain(title + (f", {curves.note}" if curves.note else "")), size=8.5)
    span = max(1, len(curves.step) // 50)
    axes.plot(curves.step, curves.values["loss"], color=style.INK, alpha=0.15, linewidth=0.7)
    for number, (name, values) in enumerate(curves.values.items()):
        colour = style.INK if name == "loss" else style.CATEGORIES[(number - 1) % len(style.CATEGORIES)]
        dashes = ["-", "--", "-.", ":"][0 if name == "loss" else (number % 4)]
        axes.plot(curves.step, smoothed(values, span), dashes, color=colour, label=style.plain(name))
    axes.grid(axis="y")
    axes.tick_params(length=0, labelbottom=False)
    axes.legend(loc="upper right", ncols=2 if len(curves.values) > 3 else 1)
    below.fill_between(curves.step, curves.lr, color=style.FAINT, linewidth=0)
    below.plot(curves.step, curves.lr, color=style.QUIET, linewidth=0.8)
    below.set_yticks([])
    below.set_ylim(0, 1.1 * float(np.nanmax(curves.lr, initial=1e-12)))
    below.set_ylabel("lr", size=7.5, rotation=0, labelpad=8, va="center")
    below.set_xlabel(f"step ({int(curves.epoch.max()) + 1} epochs)")
    below.tick_params(length=2)
