"""Near duplicates: clips that are the same performance after alignment, though not bit by bit.

A clip is described by the joints of its first two persons at 8 moments spread over it, in metres, moved so that the
first person starts at the origin and turned about the vertical so that its shoulders point to +x. The distance of
two clips is the root mean square distance of these joints. All pairs are compared through a random projection of
the description to 48 numbers (which keeps distances within some 10 %), blocks of clips at a time; the pairs that
come out close are then measured in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.audit.blocks import Block, Floats, Ints, blocks, make_block
from ssl_skel.data.layouts import Layout
from ssl_skel.data.store import Store

MOMENTS = 8
PERSONS = 2
PROJECTED = 48
SLACK = 1.6
"""How much farther a pair may look through the projection: 4 standard deviations."""

TILE = 4096
MAX_PAIRS = 200_000


@dataclass(frozen=True)
class NearPairs:
    """Pairs of clips that are close.

    Attributes:
        first: (n,) positions in the index.
        second: (n,) positions in the index, larger than `first`.
        distance: (n,) metres, ascending.
        capped: Whether there were more than are listed.
    """

    first: Ints
    second: Ints
    distance: NDArray[np.float64]
    capped: bool


def near_pairs(store: Store, limit: float, scale: float = 1.0) -> NearPairs:
    """Find all pairs of clips within a distance, those at distance zero included.

    Args:
        store: An open store.
        limit: Metres.
        scale: Factor to metres.
    """
    size = PERSONS * MOMENTS * store.layout.num_joints
    rng = np.random.Generator(np.random.PCG64(20240608))
    projection = rng.standard_normal((size * 3, PROJECTED), np.float32) / np.float32((PROJECTED * size)**0.5)
    points = np.concatenate([describe(block, store.layout, scale) @ projection for block in blocks(store)])
    first, second, capped = _close(points, limit * SLACK)
    distance = _measure(store, first, second, scale)
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] <= limit]
    return NearPairs(first[order], second[order], distance[order], capped)


def describe(block: Block, layout: Layout, scale: float) -> Floats:
    """Describe the clips of a block.

    Returns:
        (C, 2 * 8 * V * 3) float32 metres; zeros where nobody is.
    """
    frames = block.index["frames"].astype(np.int64)
    moment = (2 * np.arange(MOMENTS) + 1) * frames[:, None] // (2 * MOMENTS)
    result = np.zeros((len(block), PERSONS, MOMENTS, layout.num_joints, 3), np.float32)
    there = np.zeros(result.shape[:4], bool)
    for person in range(PERSONS):
        tracks = np.flatnonzero(block.tracks["person"] == person)
        clip, at = block.clip_of[tracks], moment[block.clip_of[tracks]] - block.tracks["start"][tracks, None]
        inside = (at >= 0) & (at < block.tracks["length"][tracks, None])
        row = block.begin[tracks, None] + np.where(inside, at, 0)
        result[clip, person] = block.rows[row]
        there[clip, person] = block.valid[row] & inside[..., None]
    first = block.begin[np.flatnonzero(block.tracks["person"] == 0)]
    origin, turn = _pose(block.rows[first], block.valid[first], layout)
    result = np.einsum("cpmva,cab->cpmvb", result - origin[:, None, None, None], turn, optimize=True)
    result[~there] = 0
    return np.asarray(result * np.float32(scale)).reshape(len(block), -1)


def _pose(rows: Floats, valid: NDArray[np.bool_], layout: Layout) -> tuple[Floats, Floats]:
    """Origin (C, 3) and rotation (C, 3, 3), to be applied from the right, of first rows (C, V, 3)."""
    weight = valid[..., None].astype(np.float32)
    mean = (rows * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    origin = np.where(valid[:, layout.centre, None], rows[:, layout.centre], mean)
    left, right = layout.shoulders
    side, depth = 0, 3 - layout.up
    across = rows[:, right] - rows[:, left]
    x, z = across[:, side], across[:, depth]
    length = np.hypot(x, z)
    known = valid[:, left] & valid[:, right] & (length > 1e-6)
    length = np.where(known, length, 1)
    cos, sin = np.where(known, x / length, 1), np.where(known, z / length, 0)
    turn = np.zeros((len(rows), 3, 3), np.float32)
    turn[:, layout.up, layout.up] = 1
    turn[:, side, side], turn[:, depth, side] = cos, sin
    turn[:, side, depth], turn[:, depth, depth] = -sin, cos
    return origin, turn


def _close(points: Floats, limit: float) -> tuple[Ints, Ints, bool]:
    """All pairs i < j of points (C, D) within a distance, in tiles; at most `MAX_PAIRS`, the first found."""
    points = points - points.mean(axis=0)
    square = (points.astype(np.float64)**2).sum(axis=1)
    rounding = 1e-5 * float(square.max(initial=0))
    found: list[tuple[Ints, Ints]] = []
    total = 0
    tiles = range(0, len(points), TILE)
    for begin, other in combinations_with_replacement(tiles, 2):
        near = points[begin:begin + TILE] @ (-2 * points[other:other + TILE].T)
        near += square[begin:begin + TILE, None].astype(np.float32)
        near += square[None, other:other + TILE].astype(np.float32)
        i, j = np.nonzero(near <= limit**2 + rounding)
        keep = i + begin < j + other
        found.append((i[keep] + begin, j[keep] + other))
        total += len(found[-1][0])
        if total > MAX_PAIRS:
            break
    first, second = (np.concatenate(part)[:MAX_PAIRS] for part in zip(*found))
    return first, second, total > MAX_PAIRS


def _measure(store: Store, first: Ints, second: Ints, scale: float) -> NDArray[np.float64]:
    """Distance in metres of pairs, in full."""
    clips, where = np.unique(np.concatenate([first, second]), return_inverse=True)
    left, right = where[:len(first)], where[len(first):]
    result = np.zeros(len(first))
    if not len(clips):
        return result
    size = PERSONS * MOMENTS * store.layout.num_joints * 3
    described = np.empty((len(clips), size), np.float32)
    for at, clip in enumerate(clips.tolist()):
        described[at] = describe(make_block(store, clip, clip + 1), store.layout, scale)[0]
    for begin in range(0, len(first), TILE):
        part = slice(begin, begin + TILE)
        difference = described[left[part]] - described[right[part]]
        used = np.maximum(_used(described[left[part]]), _used(described[right[part]]))
        result[part] = np.sqrt((difference.astype(np.float64)**2).sum(axis=1) / np.maximum(used, 1))
    return result


def _used(described: Floats) -> Ints:
    """Number of joints that are not at exactly zero."""
    there = (described.reshape(len(described), -1, 3) != 0).any(axis=2)
    return np.asarray(there.sum(axis=1), np.int64)
