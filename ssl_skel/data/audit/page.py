"""A page of pictures of the clips that an audit found worst: one file, no network, no script."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from typing import Any

import numpy as np

from ssl_skel.data.store import Store

PICTURED = 6
"""Clips shown a finding."""

MOMENTS = 8
CELL = 96
COLOURS = ("#1f5fa8", "#c2571a", "#3b8a3e")
STYLE = ("body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222}"
         "h2{margin-top:2.2rem;border-bottom:1px solid #ccc}figure{margin:.8rem 0}figcaption{font-size:13px;color:#555}"
         "img{max-width:100%;background:#fafafa;border:1px solid #e4e4e4}li{margin:.2rem 0}")


def render_page(report: dict[str, Any], store: Store) -> str:
    """Render the page.

    Args:
        report: Of `audit_dataset`.
        store: The audited store.

    Returns:
        HTML.
    """
    where = {name: position for position, name in enumerate(store.names)}
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in report["findings"]) or "<li>nothing found</li>"
    parts = [f"<h1>Audit of {html.escape(report['dataset'])}</h1>",
             f"<p>{report['clips']} clips, digest {html.escape(report['digest'][:16])}</p><ul>{lines}</ul>"]
    for title, groups in _sections(report):
        parts.append(f"<h2>{html.escape(title)}</h2>")
        for names, caption in groups[:PICTURED]:
            parts += [_figure(store, where[name], f"{name}: {caption}") for name in names]
    title = f"Audit of {html.escape(report['dataset'])}"
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n")


def _sections(report: dict[str, Any]) -> Iterator[tuple[str, list[tuple[list[str], str]]]]:
    """Titles, and groups of clips with what to say of them."""
    for split in report["splits"]:
        if split.get("duplicates", {}).get("pairs"):
            yield (f"Split {split['name']}: test clips that are training clips",
                   [([test, train], "test clip and its training copy") for test, train in split["duplicates"]["pairs"]])
        if split.get("shared_frames", {}).get("worst"):
            yield (f"Split {split['name']}: test clips that share frames with training clips",
                   [([name], f"{rows} of {total} frames") for name, rows, total in split["shared_frames"]["worst"]])
        if split.get("near", {}).get("pairs"):
            yield (f"Split {split['name']}: test clips nearly the same as training clips",
                   [([test, train], f"{distance} m apart") for test, train, distance in split["near"]["pairs"]])
    for check in report["checks"]:
        if check["worst"]:
            yield (f"{check['name']}: {check['what']}",
                   [([name], f"{value:.3g}") for name, value in check["worst"]])


def _figure(store: Store, position: int, caption: str) -> str:
    picture = base64.b64encode(draw_clip(store, position).encode()).decode()
    text = html.escape(caption, quote=True)
    return (f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{picture}">'
            f"<figcaption>{text}</figcaption></figure>")


def draw_clip(store: Store, position: int) -> str:
    """Draw a clip as SVG: its skeletons from the front at 8 moments, a colour for each person.

    Args:
        store: An open store.
        position: In its index.
    """
    clip, layout = store.clip(position), store.layout
    frames = clip.xyz.shape[1]
    moments = np.unique(np.linspace(0, frames - 1, MOMENTS).round().astype(int))
    seen = clip.xyz[:, moments][clip.valid[:, moments]]
    if not len(seen):
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{CELL}" height="{CELL}"/>'
    low, high = seen.min(axis=0), seen.max(axis=0)
    size = max(float((high - low)[[0, layout.up]].max()), 1e-6)
    middle = (low + high) / 2
    shapes = []
    for cell, frame in enumerate(moments.tolist()):
        for person in range(len(clip.xyz)):
            flat = (clip.xyz[person, frame] - middle)[:, [0, layout.up]] / size * (CELL - 16)
            points = flat * [1, -1] + [cell * CELL + CELL / 2, CELL / 2]
            shapes += _bones(points, clip.valid[person, frame], layout.bones, COLOURS[person % len(COLOURS)])
        shapes.append(f'<text x="{cell * CELL + 4}" y="{CELL - 4}" font-size="9" fill="#777">{frame}</text>')
    width = CELL * len(moments)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{CELL}" '
            f'viewBox="0 0 {width} {CELL}">{"".join(shapes)}</svg>')


def _bones(points: np.ndarray[Any, Any], valid: np.ndarray[Any, Any], bones: tuple[tuple[int, int], ...],
           colour: str) -> list[str]:
    lines = [f"M{points[child, 0]:.1f} {points[child, 1]:.1f}L{points[parent, 0]:.1f} {points[parent, 1]:.1f}"
             for child, parent in bones if valid[child] and valid[parent]]
    return [f'<path d="{"".join(lines)}" stroke="{colour}" stroke-width="1.4" fill="none"/>'] if lines else []
