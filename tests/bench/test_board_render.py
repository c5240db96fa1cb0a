from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import json
import re
from typing import Any

import pytest

from helpers.records import make_record
from ssl_skel.bench.board.ablation import find_ablations
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.data import render_csv, render_json
from ssl_skel.bench.board.html import render_html
from ssl_skel.bench.board.model import Board
from ssl_skel.bench.board.text import print_board, render_latex, render_markdown
from ssl_skel.bench.published import load_published
from ssl_skel.bench.record import Record

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>|`*_\x1b[31m=1+1\"'&\\"


def records() -> list[Record]:
    pairs = [make_record(0.5, seed=seed) for seed in (0, 1)]
    pairs += [make_record(0.7, plugin="colorization", streams="temporal+spatial", fusion="concat", seed=seed)
              for seed in (0, 1)]
    pairs += [make_record(0.3, plugin="random", seed=seed, config__train__epochs=0, cost__pretrain_hours=0.0)
              for seed in (0, 1)]
    pairs += [make_record(0.6, plugin="moco", seed=seed, config__frames=20, cost__pretrain_hours=1.5)
              for seed in (0, 1)]
    pairs += [make_record(0.2, plugin="moco", evaluator="knn")]
    return [record for record, _ in pairs]


def board_of(found: list[Record], **options: Any) -> Board:
    return build_board(BoardInput(found, published=load_published(), families={"simclr": "contrastive"}), "made-up",
                       "A board", **options)


FORMATS = {"md": render_markdown, "csv": render_csv, "json": render_json, "tex": render_latex, "html": render_html}


@pytest.mark.parametrize("form", FORMATS)
def test_equal_records_in_any_order_give_equal_bytes(form: str) -> None:
    found = records()
    assert FORMATS[form](board_of(found)) == FORMATS[form](board_of(list(reversed(found))))


@pytest.mark.parametrize("form", FORMATS)
def test_times_and_machines_are_no_part_of_tables(form: str) -> None:
    """When a cell was run stands on the page's details only."""
    text = FORMATS[form](board_of(records()))
    assert ("2030-01-01" in text) == (form == "html")


def test_markdown_says_what_a_reader_needs() -> None:
    text = render_markdown(board_of(records()))
    assert "# A board" in text
    assert "| 1 | colorization | st-gcn | temporal+spatial, concat | 70.0 ± 0.0 |" in text
    assert "| floor | random |" in text
    assert "### Track B, not comparable with A: frames 20 instead of 40" in text
    assert "| Colorization | ICCV 2021 | DGCNN |" in text
    assert "Published, not ranked" in text
    widths = [line.count("|") - line.count(r"\|") for line in text.splitlines() if line.startswith("| ")]
    assert set(widths) == {14, 8}


def test_csv_has_one_line_a_row_and_is_read_back() -> None:
    board = board_of(records())
    lines = list(csv.DictReader(io.StringIO(render_csv(board))))
    ours = [line for line in lines if line["kind"] == "ours"]
    assert len(ours) == sum(len(list(table.rows())) for table in board.tables)
    best = next(line for line in ours if line["rank"] == "1" and line["evaluator"] == "linear" and line["track"] == "A")
    assert (best["method"], float(best["mean"]), best["seeds"]) == ("colorization", 0.7, "0 1")
    assert any(line["kind"] == "published" and line["mean"] == "0.911" for line in lines)


def test_json_holds_everything() -> None:
    board = board_of(records())
    data = json.loads(render_json(board, find_ablations(records())))
    assert data["records"] == sorted(record.id for record in records())
    linear = next(table for table in data["tables"] if table["evaluator"] == "linear")
    assert linear["tracks"][1]["differs"] == ["frames 20 instead of 40"]
    row = linear["tracks"][0]["rows"][0]
    assert (row["plugin"], row["rank"], row["interval"]["over"]) == ("colorization", 1, "seeds")
    assert data["ablations"] == []


def test_latex_has_a_table_a_track() -> None:
    text = render_latex(board_of(records()))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert r"\textbf{70.0 $\pm$ 0.0}" in text


def test_terminal_table_fits_its_width() -> None:
    from rich.console import Console

    for width in (60, 80, 120, 200):
        out = io.StringIO()
        print_board(board_of(records()), Console(file=out, width=width))
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert any("colorization" in line for line in lines)


def evil_board() -> Board:
    """Markup in every string that a plugin, a config file or a machine supplies."""
    raw = make_record(0.5, label=EVIL[:60], streams=EVIL, suite=EVIL, config__task={EVIL: EVIL},
                      env={"cpu": EVIL, "packages": {EVIL: EVIL}, "git": {"commit": EVIL}}, chosen={EVIL: EVIL},
                      versions={EVIL: EVIL}, started=EVIL, finished=EVIL, digests__plugin=EVIL, primary=EVIL,
                      metrics={EVIL: 0.5, "top1": 0.5}, config__preprocessing=EVIL, config__frames=EVIL)[0]
    other = make_record(0.4, label=EVIL[:60], streams=EVIL, config__task={EVIL: "b"}, primary=EVIL,
                        metrics={EVIL: 0.4, "top1": 0.4})[0]
    board = build_board(BoardInput([raw, other], families={"simclr": EVIL}, published=load_published(),
                                   stale={raw.id: [EVIL]}), "made-up", EVIL, EVIL)
    table = board.tables[0]
    beside = dataclasses.replace(load_row(), method=EVIL, venue=EVIL, source=EVIL, notes=EVIL, backbone=EVIL)
    return dataclasses.replace(board, tables=(dataclasses.replace(table, published=(beside,)), *board.tables[1:]))


def load_row() -> Any:
    from ssl_skel.bench.published import published_rows

    return published_rows(load_published(), "nw-ucla", "v3", "linear")[0]


class Elements(html.parser.HTMLParser):
    """Counts elements and event handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = self.images = 0
        self.handlers: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def elements(text: str) -> Elements:
    found = Elements()
    found.feed(text)
    return found


def test_markup_in_every_string_stays_text_on_the_page() -> None:
    found = elements(render_html(evil_board()))
    assert (found.scripts, found.images, found.handlers) == (1, 0, [])


def test_ids_of_the_page_are_unique() -> None:
    found = elements(render_html(board_of(records())))
    assert len(found.ids) == len(set(found.ids)) > 5


def test_markup_in_every_string_breaks_no_markdown_table() -> None:
    text = render_markdown(evil_board())
    assert not re.search(r"(?<!\\)<(script|img)", text)
    assert "\x1b" not in text
    for line in text.splitlines():
        if line.startswith("| "):
            # Only an even number of backslashes before a bar leaves it a bar.
            bars = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
            assert bars in (12, 13, 8), line


def test_text_that_looks_like_a_formula_is_no_formula_in_csv() -> None:
    pairs = [make_record(0.5, label="=cmd|' /C calc'!A0", streams="@x"), make_record(0.4, label="-1")]
    lines = list(csv.DictReader(io.StringIO(render_csv(board_of([record for record, _ in pairs])))))
    texts = [value for line in lines for key, value in line.items() if key in ("label", "streams", "notes")]
    assert not [text for text in texts if text[:1] in ("=", "+", "-", "@")]


def test_commands_in_latex_stay_text() -> None:
    text = render_latex(evil_board())
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)_", line.replace(r"\textbackslash{}", ""))
    assert r"\textbackslash{}" in text


def test_nothing_steers_a_terminal() -> None:
    from rich.console import Console

    out = io.StringIO()
    print_board(evil_board(), Console(file=out, width=200))
    assert "\x1b" not in out.getvalue()


def test_the_page_asks_nothing_of_the_network() -> None:
    text = render_html(board_of(records()))
    urls = re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s)>]+)""", text)
    assert urls
    assert all(url.startswith("#") or url == "data:," for url in urls), urls
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_an_empty_board_renders_in_every_format() -> None:
    board = board_of([])
    for render in FORMATS.values():
        assert render(board).endswith("\n")


def test_rows_without_a_number_render_in_every_format() -> None:
    from ssl_skel.bench.planfile import PlannedCell

    record = make_record(0.5, label="late")[0]
    plan = [PlannedCell(id=record.id, pretrain_id=record.pretrain_id, cell=record.cell)]
    board = build_board(BoardInput([], plan), "x", incomplete=True)
    for render in FORMATS.values():
        assert "late" in render(board)
