"""How numbers and marks of a board read, the same in every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ssl_skel.bench.board.ablation import GridCell
from ssl_skel.bench.board.model import Board, Cost, Row, Table, Track

METRIC_NAMES = {"top1": "top-1", "top5": "top-5", "mean_class": "class mean", "map": "mAP", "nmi": "NMI",
                "ari": "ARI"}
DASH = "–"

HOW_TO_READ = (
    "Numbers are percent. With several seeds: mean ± standard deviation, and Student's t interval over seeds; "
    "with one: bootstrap interval over test clips.",
    "Only complete rows that agree in preprocessing, frames, data, split, protocol and budget are ranked "
    "together. = marks rows that a paired bootstrap over clips can't tell from the first at 5 %, corrected for the "
    "number of rows (Holm).",
    "The floor is an untrained, frozen encoder; the ceiling is the same network trained with all labels; raw are the "
    "joints themselves, without an encoder. Nothing diagnostic is ranked.",
    "Published numbers stand beside, with source and trust, and are never ranked: nearly all of them are the "
    "best epoch on the test set, ours are the last epoch.",
)

TRUST = {"A": "authors' own file or paper", "B": "tables of at least two groups agree",
         "C": "one third-party table"}


def one_line(text: str) -> str:
    """Text in one line, without what would steer a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def cut(text: str, letters: int) -> str:
    """Text of at most so many letters; a longer one loses its middle, as names often differ at their ends."""
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[:letters - 1 - end]}…{text[len(text) - end:]}"


def distinct(texts: Sequence[str], letters: int) -> list[str]:
    """Texts cut to so many letters; different texts that are the same when cut are numbered."""
    found: dict[str, str] = {}
    for text in texts:
        short, count = cut(text, letters), 1
        while text not in found and short in found.values():
            count += 1
            short = f"{cut(text, letters - len(f' ({count})'))} ({count})"
        found.setdefault(text, short)
    return [found[text] for text in texts]


def chosen(value: object) -> str:
    """A value that was chosen on held-out subjects; a measured one with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def metric_name(name: str) -> str:
    """Name of a metric for people; what stands before a known one stays before it (``k20_top1``)."""
    for known, text in METRIC_NAMES.items():
        if name == known or name.endswith(f"_{known}"):
            return f"{name.removesuffix(known)}{text}".replace("_", " ")
    return name.replace("_", " ")


def percent(value: float | None) -> str:
    """A fraction as percent with one decimal."""
    return DASH if value is None else f"{100 * value:.1f}"


def score(row: Row) -> str:
    """Mean, and spread over seeds."""
    if row.sd is None:
        return percent(row.mean)
    return f"{percent(row.mean)} ± {percent(row.sd)}"


def grid_cell(cell: GridCell | None) -> str:
    """Mean and spread of one cell of an ablation."""
    if cell is None:
        return DASH
    return percent(cell.mean) + (f" ± {percent(cell.sd)}" if cell.sd is not None else "")


def interval(row: Row) -> str:
    """The 95 % interval."""
    found = row.interval
    return DASH if found is None else f"{percent(found.low)} to {percent(found.high)}"


def delta(row: Row) -> str:
    """Difference to the baseline, with its interval."""
    found, text = row.delta, difference(row)
    if found is None or found.low is None or found.high is None:
        return text
    return f"{text} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def difference(row: Row) -> str:
    """Difference to the baseline, in points."""
    return DASH if row.delta is None else f"{100 * row.delta.value:+.1f}"


def rank(row: Row) -> str:
    """Rank, or what the row is instead."""
    if row.rank is not None:
        return f"{row.rank}{' =' if row.even and row.rank > 1 else ''}"
    if row.missing:
        return "incomplete"
    return row.role if row.role != "ranked" else DASH


def method(row: Row) -> str:
    """Method, with what tells it from its namesakes."""
    return f"{row.key.method} ({row.variant})" if row.variant else row.key.method


def streams(row: Row) -> str:
    """Streams and, for several, how they are fused."""
    return row.key.streams if row.key.fusion == "single" else f"{row.key.streams}, {row.key.fusion}"


def marks(row: Row) -> list[str]:
    """What a reader must know about a row, in words."""
    found = []
    if row.role == "floor":
        found.append("floor: untrained encoder")
    if row.role == "raw":
        found.append("raw: joints as they are, no encoder")
    if row.role == "diagnostic":
        found.append(_diagnosis(row))
    if row.role == "ceiling":
        found.append("ceiling: all labels" + (f", {row.evaluator}" if row.evaluator else ""))
    if row.missing:
        seeds = ", ".join(f"{m.seed} ({m.reason})" if m.reason else str(m.seed) for m in row.missing)
        found.append(f"incomplete: seed {seeds} missing")
    if row.stale:
        found.append(f"stale: {', '.join(row.stale)} changed since")
    return found


def _diagnosis(row: Row) -> str:
    inflation = row.metrics.get("inflation", row.mean if row.records[:1] and row.records[0].primary == "inflation"
                                else None)
    if inflation is None:
        return "diagnostic, never ranked"
    return f"diagnostic, never ranked: choosing on the test set would add {100 * inflation:.1f} points"


def params(cost: Cost) -> str:
    """Parameters of the encoders, in millions."""
    return DASH if cost.params is None else f"{cost.params / 1e6:.2f} M"


def duration(cost: Cost) -> str:
    """Pretraining time of one seed."""
    if cost.hours is None:
        return DASH
    seconds = cost.hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{cost.hours:.1f} h"


def speed(cost: Cost) -> str:
    """Training clips a second."""
    return DASH if cost.samples_per_s is None else f"{cost.samples_per_s:,.0f}"


def memory(cost: Cost) -> str:
    """Peak memory."""
    if cost.peak_mb is None:
        return DASH
    return f"{cost.peak_mb:.0f} MB" if cost.peak_mb < 10_000 else f"{cost.peak_mb / 1000:.1f} GB"


def seeds(row: Row) -> str:
    """How many seeds stand behind a row."""
    count = len(row.records)
    return f"{count} seed" if count == 1 else f"{count} seeds"


def track_title(track: Track) -> str:
    """Heading of a track other than the first."""
    return f"Track {track.name}, not comparable with A: {'; '.join(track.differs)}"


def conditions(track: Track) -> str:
    """What the rows of a track have in common."""
    wanted = ("preprocessing", "frames", "persons", "modality", "pretraining data", "training clips", "test clips",
              "budget")
    return "; ".join(f"{name} {track.conditions[name]}" for name in wanted
                     if track.conditions.get(name) not in (None, "", "None"))


def hidden(table: Table) -> str:
    """Say that rows are not shown; empty if all are."""
    if not table.hidden:
        return ""
    what = "1 incomplete row is" if table.hidden == 1 else f"{table.hidden} incomplete rows are"
    return f"{what} not shown; --incomplete shows them."


def empty(board: Board) -> str:
    """Say that a board has no row that counts, and why as far as it is known; empty where it has one."""
    rows = [row for table in board.tables for row in table.rows()]
    if any(not row.missing for row in rows):
        return ""
    hint = "" if board.incomplete else " Rows that are incomplete or failed are not shown; --incomplete shows them."
    return f"This board has no complete row yet.{hint}"


def flops(cost: Cost) -> str:
    """Arithmetic of encoding one clip."""
    if cost.flops is None:
        return DASH
    return f"{cost.flops / 1e9:.2f} G" if cost.flops >= 1e8 else f"{cost.flops / 1e6:.2f} M"


def energy(cost: Cost) -> str:
    """Energy of the pretraining of one seed."""
    if cost.energy_kj is None:
        return DASH
    return f"{cost.energy_kj:.1f} kJ" if cost.energy_kj < 3600 else f"{cost.energy_kj / 3600:.2f} kWh"


COSTS: tuple[tuple[str, Callable[[Cost], float | None], Callable[[Cost], str]], ...] = (
    ("params", lambda cost: cost.params, params), ("FLOPs", lambda cost: cost.flops, flops),
    ("pretraining", lambda cost: cost.hours, duration), ("clips/s", lambda cost: cost.samples_per_s, speed),
    ("peak memory", lambda cost: cost.peak_mb, memory), ("energy", lambda cost: cost.energy_kj, energy))
"""Columns of cost: heading, value, text."""

RARE = ("FLOPs", "energy")
"""Columns of cost that are left out of a board where no row has them."""


def costs(board: Board) -> list[tuple[str, Callable[[Cost], float | None], Callable[[Cost], str]]]:
    """Columns of cost of a board."""
    rows = [row for table in board.tables for row in table.rows()]
    return [one for one in COSTS if one[0] not in RARE or any(one[1](row.cost) is not None for row in rows)]


def sanity(table: Table) -> str:
    """What the label-shuffled probes of a table's data say; empty where none was run."""
    found = table.sanity
    if found is None:
        return ""
    said = (f"{found.probes} label-shuffled probe{'s' if found.probes > 1 else ''}: {percent(found.mean)} % right on "
            f"average, {percent(found.highest)} % at most; chance is {percent(found.chance)} %")
    if not found.failed:
        return f"Sanity check passed. {said}."
    return (f"SANITY CHECK FAILED, do not trust this column: test labels or clips reach the probe by another way "
            f"(p = {found.p:.2g}). {said}.")


def other_metrics(table: Table) -> list[str]:
    """Names of the further metrics of a table's rows, top-5 and class mean first; points of curves are left out."""
    names = {name for row in table.rows() for name in row.metrics if "/" not in name}
    first = [name for name in ("top5", "mean_class") if name in names]
    return first + sorted(names - set(first))


def baseline_heading(board: Board) -> str:
    """Heading of the difference column."""
    return f"vs {board.baseline}"
