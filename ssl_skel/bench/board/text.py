"""A board as Markdown, as LaTeX, and on a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from ssl_skel.bench.board import words
from ssl_skel.bench.board.ablation import AblationGrid
from ssl_skel.bench.board.model import Board, Row, Table, Track

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

MAX_PUBLISHED = 12
"""Published rows that Markdown shows; HTML, JSON and CSV have all."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~!])")
_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
          "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}


def columns(board: Board, table: Table) -> list[str]:
    """Headings of a table."""
    return ["rank", "method", "backbone", "streams", words.metric_name(table.metric), "95 %",
            words.baseline_heading(board), *(words.metric_name(name) for name in words.other_metrics(table)),
            *(name for name, _, _ in words.costs(board))]


def cells(board: Board, table: Table, row: Row) -> list[str]:
    """One row as text, in the order of `columns`."""
    metrics = [words.percent(row.metrics.get(name)) for name in words.other_metrics(table)]
    return [words.rank(row), words.method(row), row.key.backbone, words.streams(row), words.score(row),
            words.interval(row), words.delta(row), *metrics, *(text(row.cost) for _, _, text in words.costs(board))]


def render_markdown(board: Board, grids: Sequence[AblationGrid] = ()) -> str:
    """Render a board, and its ablations, as Markdown; every string of a plugin is escaped."""
    lines = [f"# {escape_markdown(board.title)}", ""]
    lines += [f"- {text}" for text in words.HOW_TO_READ] + [""]
    lines += [words.empty(board), ""] if words.empty(board) else []
    for table in board.tables:
        lines += [f"## {escape_markdown(table.title)}", ""]
        if table.sanity:
            said = escape_markdown(words.sanity(table))
            lines += [f"**{said}**" if table.sanity.failed else said, ""]
        for track in table.tracks:
            lines += _markdown_track(board, table, track)
        if words.hidden(table):
            lines += [words.hidden(table), ""]
        lines += _markdown_published(table)
    for grid in grids:
        lines += _markdown_grid(grid)
    return "\n".join(lines).rstrip() + "\n"


def _markdown_track(board: Board, table: Table, track: Track) -> list[str]:
    head = [f"### {escape_markdown(words.track_title(track))}", ""] if track.differs else []
    common = words.conditions(track)
    lines = [*head, *([escape_markdown(common), ""] if common else []), *_markdown_rows(
        columns(board, table), [cells(board, table, row) for row in track.rows], left=4), ""]
    notes = [f"- {escape_markdown(words.method(row))}: {escape_markdown('; '.join(words.marks(row)))}"
             for row in track.rows if words.marks(row)]
    return [*lines, *notes, ""] if notes else lines


def _markdown_published(table: Table) -> list[str]:
    if not table.published:
        return []
    rows = [[row.method, row.venue, row.backbone or words.DASH, row.streams, f"{row.value:.1f}", row.trust,
             row.source + (f" ({row.notes})" if row.notes else "")] for row in table.published[:MAX_PUBLISHED]]
    left = len(table.published) - len(rows)
    trust = "; ".join(f"{grade}: {text}" for grade, text in words.TRUST.items())
    return ["Published, not ranked:", "",
            *_markdown_rows(["method", "venue", "backbone", "streams", "top-1", "trust", "source"], rows, left=4),
            "", f"Trust {trust}." + (f" {left} more in board.json." if left else ""), ""]


def _markdown_grid(grid: AblationGrid) -> list[str]:
    head = [f"{grid.row_key} \\ {grid.col_key}", *grid.cols]
    rows = [[row, *(words.grid_cell(grid.cells.get((row, col))) for col in grid.cols)] for row in grid.rows]
    title = f"{grid.kind}, {words.metric_name(grid.metric)}: {grid.title}"
    return [f"## {escape_markdown(title)}", "", *_markdown_rows(head, rows, left=1), ""]


def _markdown_rows(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    rule = ["---" if place < left or name == "source" else "---:" for place, name in enumerate(head)]
    return ["| " + " | ".join(line) + " |" for line in
            ([escape_markdown(name) for name in head], rule,
             *([escape_markdown(cell) for cell in row] for row in rows))]


def escape_markdown(text: str) -> str:
    """Keep text from being taken for markup, in one line."""
    return _MARKDOWN.sub(r"\\\1", words.one_line(text)).replace("&", "&amp;")


def render_latex(board: Board) -> str:
    """Render a board as LaTeX tables (booktabs), one a track."""
    lines = ["% needs \\usepackage{booktabs}"]
    for table in board.tables:
        for track in table.tracks:
            lines += _latex_track(board, table, track)
    return "\n".join(lines) + "\n"


def _latex_track(board: Board, table: Table, track: Track) -> list[str]:
    names = columns(board, table)
    caption = table.title + (f". {words.track_title(track)}" if track.differs else "")
    body = []
    for row in track.rows:
        texts = [escape_latex(text) for text in cells(board, table, row)]
        if row.rank == 1:
            texts[4] = f"\\textbf{{{texts[4]}}}"
        body.append(" & ".join(texts) + r" \\")
    return ["", r"\begin{table}", r"\centering\small", f"\\caption{{{escape_latex(caption)}.}}",
            f"\\begin{{tabular}}{{llll{'r' * (len(names) - 4)}}}", r"\toprule",
            " & ".join(escape_latex(name) for name in names) + r" \\", r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}", r"\end{table}"]


def escape_latex(text: str) -> str:
    """Keep text from being taken for commands."""
    return "".join(_LATEX.get(char, char) for char in words.one_line(text))


def print_board(board: Board, console: Console) -> None:
    """Print a board on a terminal: what matters most, in as many columns as fit."""
    from rich.text import Text

    for table in board.tables:
        for track in table.tracks:
            console.print(_terminal_track(board, table, track, console.width))
        notes = [f"{words.method(row)}: {mark}" for row in table.rows() if row.stale or row.missing
                 for mark in words.marks(row)]
        notes += [words.hidden(table)] if table.hidden else []
        notes += [words.sanity(table)] if table.sanity else []
        if table.published:
            best = "; ".join(f"{row.method} {row.value:.1f} [{row.trust}]" for row in table.published[:4])
            notes.append(f"published, not ranked: {best}")
        for note in notes:
            console.print(Text(f"  {words.one_line(note)}", style="dim"))
        console.print()


def _terminal_track(board: Board, table: Table, track: Track, width: int) -> RichTable:
    """One track as a rich table."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    title = words.one_line(words.track_title(track) if track.differs else table.title)
    grid = RichTable(box=box.SIMPLE_HEAD, title=Text(title, style="bold"), title_justify="left", padding=(0, 1),
                     pad_edge=False, collapse_padding=True)
    wanted: list[tuple[str, Literal["left", "right"], Callable[[Row], str]]] = [
        ("rank", "left", words.rank), ("method", "left", words.method),
        ("streams", "left", lambda row: words.streams(row).replace("+", " + ")),
        (words.metric_name(table.metric), "right", words.score), ("95 %", "right", words.interval),
        (words.baseline_heading(board), "right", words.difference)]
    if width >= 105:
        wanted.insert(2, ("backbone", "left", lambda row: row.key.backbone))
    if width >= 130:
        wanted += [("params", "right", lambda row: words.params(row.cost)),
                   ("pretraining", "right", lambda row: words.duration(row.cost))]
    if width >= 155:
        wanted += [("clips/s", "right", lambda row: words.speed(row.cost)),
                   ("peak memory", "right", lambda row: words.memory(row.cost))]
    for name, justify, _ in wanted:
        grid.add_column(Text(words.one_line(name)), justify=justify, no_wrap=name not in ("method", "streams"),
                        overflow="fold", min_width=14 if name == "method" else None)
    for row in track.rows:
        style = "bold" if row.rank == 1 else "dim" if row.rank is None else ""
        grid.add_row(*(Text(words.one_line(show(row))) for _, _, show in wanted), style=style)
    return grid
