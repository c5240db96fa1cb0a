"""A board as plain data: JSON with everything, CSV with one line a row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ssl_skel.bench.board.ablation import AblationGrid
from ssl_skel.bench.board.means import sources
from ssl_skel.bench.board.model import Board, Row, Table, Track
from ssl_skel.bench.published import PublishedRow

DECIMALS = 6

CSV_COLUMNS = (
    "kind", "dataset", "split", "evaluator", "track", "rank", "role", "method", "label", "variant", "family",
    "backbone", "streams", "fusion", "metric", "mean", "sd", "low", "high", "interval_over", "seeds",
    "missing_seeds", "delta", "delta_low", "delta_high", "against", "even_with_first", "top5", "mean_class",
    "params", "pretrain_hours", "samples_per_s", "peak_mb", "flops", "energy_kj", "delta_p_holm", "sanity",
    "stale", "differs", "source", "trust", "notes",
    "records")


def render_json(board: Board, grids: Sequence[AblationGrid] = ()) -> str:
    """Render a board and its ablations as JSON; metrics are fractions, published values too."""
    data = {**as_data(board), "ablations": [_grid(grid) for grid in grids]}
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _grid(grid: AblationGrid) -> dict[str, Any]:
    return {"kind": grid.kind, "title": grid.title, "metric": grid.metric, "row_key": grid.row_key,
            "col_key": grid.col_key, "rows": list(grid.rows), "cols": list(grid.cols),
            "cells": [{"row": row, "col": col, "mean": _round(cell.mean), "sd": _round(cell.sd), "seeds": cell.count}
                      for (row, col), cell in sorted(grid.cells.items())]}


def as_data(board: Board) -> dict[str, Any]:
    """A board as nested dicts and lists."""
    return {"schema": 1, "name": board.name, "title": board.title, "baseline": board.baseline,
            "incomplete": board.incomplete, "tables": [_table(table) for table in board.tables],
            "records": list(board.record_ids)}


def _table(table: Table) -> dict[str, Any]:
    return {"dataset": table.dataset, "split": table.split, "evaluator": table.evaluator, "metric": table.metric,
            "n_test": table.n_test, "hidden_incomplete": table.hidden,
            "tracks": [{"name": track.name, "differs": list(track.differs), "conditions": track.conditions,
                        "rows": [row_data(row) for row in track.rows]} for track in table.tracks],
            "published": [_published(row) for row in table.published], **_sanity(table)}


def _sanity(table: Table) -> dict[str, Any]:
    """The label-shuffled probes of the table's data, and whether the table is a check itself."""
    found = table.sanity
    said = {"mean": _round(found.mean), "highest": _round(found.highest), "chance": _round(found.chance),
            "probes": found.probes, "p": _round(found.p), "failed": found.failed} if found else None
    return {"sanity": said, "diagnostic": table.diagnostic}


def row_data(row: Row) -> dict[str, Any]:
    """One row as plain data."""
    found, delta = row.interval, row.delta
    return {
        "rank": row.rank, "role": row.role, "plugin": row.key.plugin, "label": row.key.label,
        "variant": row.variant, "family": row.family, "backbone": row.key.backbone, "streams": row.key.streams,
        "fusion": row.key.fusion, **_before(row), "evaluator": row.evaluator or None, "mean": _round(row.mean),
        "sd": _round(row.sd),
        "interval": {"low": _round(found.low), "high": _round(found.high), "over": found.over} if found else None,
        "metrics": {name: _round(value) for name, value in sorted(row.metrics.items())},
        "delta": {"value": _round(delta.value), "low": _round(delta.low), "high": _round(delta.high),
                  "against": delta.against, "p": _round(delta.p), "p_holm": _round(delta.p_holm)} if delta else None,
        "intervals": _intervals(row),
        "even_with_first": row.even, "seeds": list(row.seeds),
        "missing": [{"seed": m.seed, "reason": m.reason} for m in row.missing], "stale": list(row.stale),
        "cost": {"params": _round(row.cost.params), "pretrain_hours": _round(row.cost.hours),
                 "samples_per_s": _round(row.cost.samples_per_s), "peak_mb": _round(row.cost.peak_mb),
                 "flops": _round(row.cost.flops), "energy_kj": _round(row.cost.energy_kj)},
        "records": [source for record in row.records for source in sources(record)],
    }


def _intervals(row: Row) -> dict[str, dict[str, list[float | None]]]:
    """Bootstrap intervals of all metrics of a row of one seed, over clips and over subjects."""
    if len(row.records) != 1:
        return {}
    record = row.records[0]
    return {over: {name: [_round(value) for value in bounds] for name, bounds in sorted(found.items())}
            for over, found in (("clips", record.ci95), ("subjects", record.ci95_subjects)) if found}


def _before(row: Row) -> dict[str, str]:
    """What was pretrained on, where that is not the table's own training part."""
    return {"pretrained_on": row.key.pretrained_on} if row.key.pretrained_on else {}


def _published(row: PublishedRow) -> dict[str, Any]:
    return {"method": row.method, "venue": row.venue, "backbone": row.backbone, "streams": row.streams,
            "fusion": row.fusion, "value": _round(row.value / 100), "source": row.source, "trust": row.trust,
            "groups": row.groups, "notes": row.notes}


def _round(value: float | None) -> float | None:
    """Cut what differs between machines by rounding."""
    return None if value is None else round(value, DECIMALS)


def render_csv(board: Board) -> str:
    """Render a board as CSV: our rows, then the published ones of each table.

    A column ``pretrained_on`` is there where a row was pretrained on other data than it is tested on.
    """
    out = io.StringIO()
    transfer = any(row.key.pretrained_on for table in board.tables for row in table.rows())
    columns = (*CSV_COLUMNS, *(["pretrained_on"] if transfer else []))
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for table in board.tables:
        place = {"dataset": table.dataset, "split": table.split, "evaluator": table.evaluator}
        for track in table.tracks:
            for row in track.rows:
                writer.writerow(_safe({**place, **_csv_row(table, track, row)}))
        for published in table.published:
            writer.writerow(_safe({**place, **_csv_published(published)}))
    return out.getvalue()


def _csv_row(table: Table, track: Track, row: Row) -> dict[str, Any]:
    data = row_data(row)
    found, delta = data["interval"] or {}, data["delta"] or {}
    return {
        "kind": "ours", "track": track.name, "rank": row.rank, "role": row.role, "method": row.key.plugin,
        "label": row.key.label, **_before(row), "variant": row.variant, "family": row.family,
        "backbone": row.key.backbone, "streams": row.key.streams, "fusion": row.key.fusion,
        "metric": table.metric, "mean": data["mean"],
        "sd": data["sd"], "low": found.get("low"), "high": found.get("high"), "interval_over": found.get("over"),
        "seeds": " ".join(map(str, row.seeds)), "missing_seeds": " ".join(str(m.seed) for m in row.missing),
        "delta": delta.get("value"), "delta_low": delta.get("low"), "delta_high": delta.get("high"),
        "against": delta.get("against"), "delta_p_holm": delta.get("p_holm"),
        "sanity": "" if table.sanity is None else "failed" if table.sanity.failed else "passed",
        "even_with_first": int(row.even), "top5": data["metrics"].get("top5"),
        "mean_class": data["metrics"].get("mean_class"), **data["cost"], "stale": " ".join(row.stale),
        "differs": "; ".join(track.differs), "records": " ".join(data["records"])}


def _csv_published(row: PublishedRow) -> dict[str, Any]:
    data = _published(row)
    return {"kind": "published", "method": row.method, "label": row.venue, "backbone": row.backbone,
            "streams": row.streams, "fusion": row.fusion, "metric": "top1", "mean": data["value"],
            "source": row.source, "trust": row.trust, "notes": row.notes}


def _safe(line: dict[str, Any]) -> dict[str, Any]:
    """Keep spreadsheets from taking text for a formula."""
    return {key: f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
            for key, value in line.items()}
