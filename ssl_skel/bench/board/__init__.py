"""Boards: from records to Markdown, CSV, JSON, LaTeX and one offline HTML page, in bytes that can be checked."""

from ssl_skel.bench.board.ablation import AblationGrid, ablation_grid, find_ablations
from ssl_skel.bench.board.build import BoardInput, build_board
from ssl_skel.bench.board.files import BoardRequest, check_boards, make_board, save_board, write_boards
from ssl_skel.bench.board.text import print_board

__all__ = [
    "AblationGrid", "BoardInput", "BoardRequest", "ablation_grid", "build_board", "check_boards", "find_ablations",
    "make_board", "print_board", "save_board", "write_boards",
]
