"""How every picture looks: one set of colours, sizes and fonts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, FAINT, PAPER = "#22262b", "#6b7280", "#e3e6ea", "#ffffff"
BONE, POINT = "#9aa3ad", "#5b6570"
PERSONS = ("#1f5fa8", "#c2571a", "#3b8a3e", "#7a4fa3")
"""Colours of persons where no stream colours them."""

CATEGORIES = ("#1f77b4", "#e07b22", "#2f9a4a", "#c8384c", "#8a63b8", "#8c6249", "#d568ad", "#7d858e", "#a9a92a",
              "#23a9b8")
MARKERS = "osD^vP*X<>"
"""A category is a colour and a marker, so that a picture can be read without colour."""

_RC: dict[str, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.0, "text.color": INK,
    "axes.titlesize": 10.0, "axes.titleweight": "bold", "axes.titlecolor": INK, "axes.titlelocation": "left",
    "axes.labelsize": 9.0, "axes.labelcolor": QUIET, "axes.edgecolor": "#b8bec6", "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "grid.color": FAINT,
    "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.facecolor": PAPER, "figure.facecolor": PAPER,
    "xtick.color": "#b8bec6", "ytick.color": "#b8bec6", "xtick.labelcolor": QUIET, "ytick.labelcolor": QUIET,
    "xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "legend.frameon": False, "legend.fontsize": 8.0,
    "lines.linewidth": 1.6, "lines.solid_capstyle": "round", "path.simplify": False,
    "svg.hashsalt": "ssl-skel", "svg.fonttype": "path",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save inside this block with the house's style; what matplotlib was set to before comes back."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def category(number: int) -> tuple[str, str]:
    """Colour and marker of a category, 0-based; pairs repeat only after 100."""
    return CATEGORIES[number % len(CATEGORIES)], MARKERS[(number + number // len(CATEGORIES)) % len(MARKERS)]


def headline(figure: Any, title: str, subtitle: str = "", inches: float = 0.16) -> None:
    """Write a title and a quieter line below it at the top left of a figure.

    Args:
        figure: The figure.
        title: The main thing.
        subtitle: What else should be known.
        inches: Distance of the text from the left and upper edge.
    """
    width, height = figure.get_size_inches()
    left = inches / width
    figure.text(left, 1 - inches / height, plain(title), size=13, weight="bold", color=INK, va="top")
    if subtitle:
        figure.text(left, 1 - (inches + 0.28) / height, plain(subtitle), size=9, color=QUIET, va="top")


def plain(text: str) -> str:
    """Text as it stands: matplotlib would read dollar signs as mathematics."""
    return text.replace("$", r"\$")


def wrap(text: str, inches: float, size: float = 9.0) -> str:
    """Break text between words where it would be wider than so many inches.

    Args:
        text: As it stands; what fits stays in one line.
        inches: Room for a line; a single word may be wider.
        size: Of the letters, in points.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _inches(longer, size) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _inches(text: str, size: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family=_RC["font.sans-serif"])
    return float(TextPath((0, 0), plain(text), size=size, prop=font).get_extents().x1) / 72


def taller(text: str, size: float = 9.0) -> float:
    """Inches that the lines of a text after the first add."""
    return text.count("\n") * 1.42 * size / 72


def bare(axes: Axes) -> None:
    """Take frame, ticks and labels off."""
    axes.set_axis_off()


def shortened(names: Sequence[str], letters: int) -> list[str]:
    """Names of at most so many letters; a longer one ends in an ellipsis."""
    return [name if len(name) <= letters else name[:letters - 1] + "…" for name in names]
