"""What an audit found, as one picture: leaks of each split, broken clips, and the worst pairs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_skel.view import style
from ssl_skel.view.sheet import draw_clip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ssl_skel.data.dataset import Dataset

KINDS = (("duplicates", "copies of training clips", "#c8384c"), ("shared_frames", "share frames", "#e07b22"),
         ("near", "nearly the same", "#d9b13b"))
WIDTH, HEAD, LINE, PAIR = 8.2, 0.8, 0.27, 1.25
BARS, SMALL = 5.6, 7.5
STRETCH = 3.6
"""Width of the bars' axes over that of the widest bar; the rest is for words."""

PAIRS = 6
"""Worst pairs and clips that are shown."""


def draw_audit(report: dict[str, Any], dataset: Dataset) -> Figure:
    """Draw the report of an audit.

    Args:
        report: Of `audit_dataset`.
        dataset: The audited one.

    Returns:
        A figure. Call inside `style.styled`.
    """
    from matplotlib.figure import Figure

    splits = [split for split in report["splits"] if "problem" not in split]
    checks = [check for check in report["checks"] if check["flagged"]]
    pairs = _worst_pairs(report)
    told = _explanations(checks, report["clips"])
    line = LINE + max((style.taller(text, SMALL) for text in told), default=0.0)
    blocks = [max(len(splits), 1) * LINE + 0.95, len(checks) * line + 0.95 if checks else LINE + 0.5,
              PAIR + 0.55 if pairs else 0.0]
    height = HEAD + sum(blocks)
    figure = Figure(figsize=(WIDTH, height))
    count = len(report["findings"])
    style.headline(figure, f"Audit of {report['dataset']}",
                   f"{report['clips']:,} clips; {count or 'no'} finding{'s' if count != 1 else ''}")
    _splits(_block(figure, HEAD + 0.25, blocks[0] - 0.95, height), splits)
    _checks(_block(figure, HEAD + blocks[0] + 0.25, len(checks) * line or LINE, height), checks, told,
            report["clips"])
    if pairs:
        _pairs(figure, HEAD + blocks[0] + blocks[1], height, dataset, pairs)
    return figure


def _block(figure: Figure, top: float, tall: float, height: float) -> Axes:
    return figure.add_axes((2.1 / WIDTH, 1 - (top + tall) / height, BARS / WIDTH, tall / height))


def _splits(axes: Axes, splits: list[dict[str, Any]]) -> None:
    """A bar a split: shares of its test clips that training saw."""
    axes.set_title("Test clips that training saw")
    names = [f"{split['name']} ({split['test']:,} test)" for split in splits]
    left = np.zeros(len(splits))
    for key, _, colour in KINDS:
        counts = np.array([split[key]["test_clips"] for split in splits], float)
        share = 100 * counts / np.array([split["test"] for split in splits], float)
        axes.barh(range(len(splits)), share, left=left, color=colour, height=0.62)
        left += share
    for row, split in enumerate(splits):
        said = [f"{split[key]['test_clips']} {label}" for key, label, _ in KINDS if split[key]["test_clips"]]
        axes.annotate(", ".join(said) or "none", (left[row], row), xytext=(5, 0), textcoords="offset points",
                      va="center", size=7.5, color=style.QUIET)
    _tidy(axes, names)
    axes.set_xlim(0, max(2.2 * float(left.max(initial=0.0)), 5.0))
    axes.set_xlabel("% of the test clips")


def _explanations(checks: list[dict[str, Any]], clips: int) -> list[str]:
    """What each check flagged, wrapped to the room right of its bar."""
    widest = max((check["flagged"] for check in checks), default=0)
    return [style.wrap(f"{check['flagged']}: {check['what']}", BARS * (1 - check["flagged"] / widest / STRETCH), SMALL)
            for check in checks]


def _checks(axes: Axes, checks: list[dict[str, Any]], told: list[str], clips: int) -> None:
    """A bar a check that flagged a clip."""
    axes.set_title("Clips that look broken")
    if not checks:
        style.bare(axes)
        axes.text(0, 0.5, "none", color=style.QUIET, va="center", transform=axes.transAxes)
        return
    for row, (check, said) in enumerate(zip(checks, told, strict=True)):
        axes.annotate(style.plain(said), (100 * check["flagged"] / clips, row), xytext=(5, 0),
                      textcoords="offset points", va="center", size=SMALL, color=style.QUIET)
    shares = [100 * check["flagged"] / clips for check in checks]
    axes.barh(range(len(checks)), shares, color=style.PERSONS[0], height=0.62)
    _tidy(axes, [check["name"] for check in checks])
    axes.set_xlim(0, STRETCH * max(shares))
    axes.set_xlabel("% of the clips")


def _tidy(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["bottom"].set_visible(False)


def _worst_pairs(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Clip names with what to say of them: pairs of copies or near copies, then the worst of each check."""
    found: list[tuple[str, str]] = []
    for split in report["splits"]:
        pairs = split.get("duplicates", {}).get("pairs") or split.get("near", {}).get("pairs") or []
        for pair in pairs[:1]:
            found += [(pair[0], f"test of {split['name']}"), (pair[1], "its training copy")]
        if found:
            break
    found += [(check["worst"][0][0], check["name"]) for check in report["checks"] if check["worst"]]
    shown: dict[str, str] = {}
    for name, said in found:
        shown.setdefault(name, said)
    return list(shown.items())[:PAIRS]


def _pairs(figure: Figure, top: float, height: float, dataset: Dataset, pairs: list[tuple[str, str]]) -> None:
    figure.text(0.16 / WIDTH, 1 - (top + 0.05) / height, "Worst clips", weight="bold", size=10, va="top")
    where = {name: position for position, name in enumerate(dataset.store.names)}
    cell = (WIDTH - 0.3) / PAIRS
    for column, (name, said) in enumerate(pairs):
        left = (0.16 + column * cell) / WIDTH
        axes = figure.add_axes((left, 1 - (top + 0.2 + PAIR) / height, 0.94 * cell / WIDTH, (PAIR - 0.1) / height))
        draw_clip(axes, dataset, where[name])
        figure.text(left, 1 - (top + 0.22 + PAIR) / height, said, size=7.5, va="top")
        shown = style.plain(style.shortened([name], 22)[0])
        figure.text(left, 1 - (top + 0.36 + PAIR) / height, shown, size=7, va="top", color=style.QUIET)
