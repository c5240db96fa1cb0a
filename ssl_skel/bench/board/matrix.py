"""The cross-dataset matrix: each method pretrained on every dataset (rows) and tested on every one (columns)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ssl_skel.bench.board.ablation import AblationGrid, GridCell, grid_cell
from ssl_skel.bench.record import Record, method_name

KIND = "Across datasets"


def find_matrices(records: Sequence[Record]) -> list[AblationGrid]:
    """Find methods that were tested on other data than they were pretrained on, and make a matrix of each.

    The diagonal is there where the method was also tested on its own split. Groups in which a place would hold
    several records of one seed (of other settings) are left to the tables.

    Args:
        records: Of one board.
    """
    names = {record.pretrain_id: record.cell.pretrained_on for record in records if record.cell.pretrained_on}
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        cell = record.cell
        groups[cell.evaluator, cell.plugin, cell.label, cell.backbone, cell.streams, cell.fusion].append(record)
    found = (_matrix(_title(names_of), group, names) for names_of, group in sorted(groups.items())
             if any(record.cell.pretrained_on for record in group))
    return [grid for grid in found if grid is not None and len(grid.cells) > 1]


def _title(group: tuple[str, ...]) -> str:
    evaluator, plugin, label, backbone, streams, fusion = group
    method = method_name(plugin, label)
    fused = "" if fusion == "single" else f", {fusion}"
    return f"{method} ({backbone}), {streams}{fused}, pretrained on the row, {evaluator} on the column"


def _matrix(title: str, group: Sequence[Record], names: Mapping[str, str]) -> AblationGrid | None:
    places: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in group:
        tested = f"{record.cell.dataset}/{record.cell.split}"
        places[record.cell.pretrained_on or names.get(record.pretrain_id, tested), tested].append(record)
    cells: dict[tuple[str, str], GridCell] = {}
    for place, of_place in places.items():
        if len({record.cell.seed for record in of_place}) != len(of_place):
            return None
        cells[place] = grid_cell(of_place)
    return AblationGrid(title, "pretrained on", "tested on", _sorted(row for row, _ in cells),
                        _sorted(col for _, col in cells), cells, group[0].primary, KIND)


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))
