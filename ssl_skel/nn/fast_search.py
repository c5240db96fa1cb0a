"""Compiled searches in clouds of float32 points on CPUs: nearest neighbours, and the pairs of Chamfer's distance.

Each function works on a range of units (rows, clouds, blocks of channels) and touches nothing that another
unit writes, so that any cut into ranges gives the same numbers. Inner loops run along contiguous memory and
select instead of branching, which the compiler turns into vector instructions without being allowed to
reorder sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssl_skel.nn.fast_jit import jit

__all__ = ["chamfer_minima", "select_nearest"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

LANES = 64
"""Candidates that the first pass of the selection finds at once."""
CHECK = 32
"""Keys that the second pass looks at together."""


@jit
def _lane_minima(line: F32, whole: int, lane: F32, where: I32) -> None:
    """Write the least of every `LANES`-th key and its position."""
    for i in range(LANES):
        lane[i], where[i] = line[i], i
    for base in range(LANES, whole, LANES):
        part, offset = line[base:base + LANES], np.int32(base)
        for i in range(LANES):
            less = part[i] < lane[i]
            lane[i] = part[i] if less else lane[i]
            where[i] = np.int32(offset + i) if less else where[i]


@jit
def _smallest_of_lanes(line: F32, lane: F32, where: I32, rank: I32, values: F32, places: I64) -> int:
    """Take k of the smallest lane minima out of the line, write them and return how many they are.

    Ranks spare a sort. Equal minima share a rank, so that some may be left for the second pass.
    """
    rank[:] = 0
    for i in range(LANES):
        value = lane[i]
        for j in range(LANES):
            rank[j] += np.int32(value < lane[j])
    held, k = 0, len(values)
    for i in range(LANES):
        if rank[i] < k and lane[i] < np.inf and held < k:
            values[held], places[held] = lane[i], where[i]
            line[where[i]] = np.inf
            held += 1
    return held


@jit
def _largest_first(values: F32, places: I64, held: int) -> None:
    """Swap the largest member of a list to its front."""
    worst = 0
    for slot in range(1, held):
        worst = slot if values[slot] > values[worst] else worst
    values[0], values[worst] = values[worst], values[0]
    places[0], places[worst] = places[worst], places[0]


@jit
def select_nearest(keys: F32, first_row: int, found: I64, start: int, stop: int) -> None:
    """Write the positions of the k smallest finite keys of each row; the row's own position where there are fewer.

    A first pass takes the minimum of every `LANES`-th key, whose k smallest bound the k-th smallest key
    closely; few keys are then left below the bound.

    Args:
        keys: (n, N), overwritten.
        first_row: Position in its cloud of row 0.
        found: (n, k) written.
        start: First row.
        stop: Past the last row.
    """
    width, k = keys.shape[1], found.shape[1]
    values, rank = np.empty(k, np.float32), np.empty(LANES, np.int32)
    lane, where = np.empty(LANES, np.float32), np.empty(LANES, np.int32)
    whole = width // LANES * LANES
    for row in range(start, stop):
        line, places, held = keys[row], found[row], 0
        if whole > 0:
            _lane_minima(line, whole, lane, where)
            held = _smallest_of_lanes(line, lane, where, rank, values, places)
            _largest_first(values, places, held)
        bound = values[0] if held == k else np.float32(np.inf)
        for base in range(0, width, CHECK):
            part = line[base:min(base + CHECK, width)]
            below = np.int32(0)
            for i in range(len(part)):
                below += np.int32(part[i] < bound)
            if below > 0:
                for i in range(len(part)):
                    if part[i] < bound:
                        at = held if held < k else 0
                        values[at], places[at] = part[i], base + i
                        held = min(held + 1, k)
                        _largest_first(values, places, held)
                        bound = values[0] if held == k else np.float32(np.inf)
        for slot in range(held, k):
            places[slot] = first_row + row


@jit
def chamfer_minima(
    source: F32, target: F32, penalty: F32, to_target: I64, to_source: I64, start: int, stop: int
) -> None:
    """Write for every point of each cloud the position of the nearest one of the other cloud.

    Args:
        source: (B, P, C).
        target: (B, C, Q), channels first.
        penalty: (B, Q) added to the distance: 0, or infinity where a target point is invalid.
        to_target: (B, P) written.
        to_source: (B, Q) written.
        start: First cloud.
        stop: Past the last one.
    """
    channels, width = target.shape[1], target.shape[2]
    whole = width // LANES * LANES
    distance = np.empty(width, np.float32)
    column, owner = np.empty(width, np.float32), np.empty(width, np.int32)
    lane, where = np.empty(LANES, np.float32), np.empty(LANES, np.int32)
    for cloud in range(start, stop):
        column[:], owner[:] = np.inf, 0
        for row in range(source.shape[1]):
            distance[:] = penalty[cloud]
            for channel in range(channels):
                value, line = source[cloud, row, channel], target[cloud, channel]
                for j in range(width):
                    step = value - line[j]
                    distance[j] += step * step
            for j in range(width):
                less = distance[j] < column[j]
                column[j] = distance[j] if less else column[j]
                owner[j] = np.int32(row) if less else owner[j]
            lane[:], where[:] = np.inf, 0
            for base in range(0, whole, LANES):
                part, offset = distance[base:base + LANES], np.int32(base)
                for i in range(LANES):
                    less = part[i] < lane[i]
                    lane[i] = part[i] if less else lane[i]
                    where[i] = np.int32(offset + i) if less else where[i]
            least, place = np.float32(np.inf), np.int32(0)
            for i in range(LANES):
                if lane[i] < least:
                    least, place = lane[i], where[i]
            for j in range(whole, width):
                if distance[j] < least:
                    least, place = distance[j], np.int32(j)
            to_target[cloud, row] = place
        for j in range(width):
            to_source[cloud, j] = owner[j]
