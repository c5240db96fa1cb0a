"""Compiled loops of the point-cloud kernels, for float32 on CPUs; `fast` calls them and spreads them over threads.

Each function works on a range of units (rows, clouds, blocks of channels) and touches nothing that another
unit writes, so that any cut into ranges gives the same numbers. Inner loops run along contiguous memory and
select instead of branching, which the compiler turns into vector instructions without being allowed to
reorder sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CHANNELS", "activate", "chamfer_minima", "edge_moments", "max_over_neighbours", "select_nearest",
    "spread_to_neighbours", "through_activation",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

CHANNELS = 64
"""Channels a block: with 1,000 points a table of 256 kB, which a core's own cache holds."""
LANES = 64
"""Candidates that the first pass of the selection finds at once."""
CHECK = 32
"""Keys that the second pass looks at together."""

Loop = TypeVar("Loop", bound=Callable[..., Any])


def jit(loop: Loop) -> Loop:
    """Compile without the interpreter's lock; the result is kept on disk where a folder can be written."""
    try:
        compiled: Loop = numba.njit(loop, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(loop, nogil=True, error_model="numpy")
    return compiled


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

    A first pass takes the minimum of every `LANES`-th key, whose k smallest bound the k-th smallest key closely;
    few keys are then left below the bound.

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
def max_over_neighbours(
    a: F32, neighbours: I64, edges: F32, best: F32, arg: I32, total: F32, need_sum: bool, start: int, stop: int
) -> None:
    """Write maxima, their positions and sums over the neighbours of the points `start` to `stop` of all clouds.

    Args:
        a: (B, N, C).
        neighbours: (B, N, k).
        edges: (B, N) numbers of real edges; slots beyond repeat the point and are taken out of the sum.
        best: (B, N, C) written.
        arg: (B, N, C) written.
        total: (B, N, C) written if `need_sum`.
        need_sum: Whether to sum.
        start: First point, counted over all clouds.
        stop: Past the last one.
    """
    points, channels, k = a.shape[1], a.shape[2], neighbours.shape[2]
    for row in range(start, stop):
        cloud, i = row // points, row % points
        table, top, place = a[cloud], best[cloud, i], arg[cloud, i]
        first = neighbours[cloud, i, 0]
        line = table[first]
        for c in range(channels):
            top[c], place[c] = line[c], first
        if need_sum:
            added, own, spare = total[cloud, i], table[i], np.float32(k) - edges[cloud, i]
            for c in range(channels):
                added[c] = line[c] - spare * own[c]
            for slot in range(1, k):
                j = np.int32(neighbours[cloud, i, slot])
                line = table[j]
                for c in range(channels):
                    value = line[c]
                    added[c] += value
                    more = value > top[c]
                    top[c] = value if more else top[c]
                    place[c] = j if more else place[c]
        else:
            for slot in range(1, k):
                j = np.int32(neighbours[cloud, i, slot])
                line = table[j]
                for c in range(channels):
                    value = line[c]
                    more = value > top[c]
                    top[c] = value if more else top[c]
                    place[c] = j if more else place[c]


@jit
def edge_moments(
    a: F32, b: F32, total: F32, degree: F32, edges: F32, mean_a: F64, mean_b: F64, square: F64, start: int,
    stop: int,
) -> None:
    """Write each cloud's means of a and b over its edges, and the centred sum of squares of a_j + b_i.

    Args:
        a: (B, N, C).
        b: (B, N, C).
        total: (B, N, C) sums of a over neighbours.
        degree: (B, N) in-degrees.
        edges: (B, N) out-degrees.
        mean_a: (B, C) written.
        mean_b: (B, C) written.
        square: (B, C) written.
        start: First unit (cloud times blocks of channels).
        stop: Past the last one.
    """
    points, channels = a.shape[1], a.shape[2]
    blocks = (channels + CHANNELS - 1) // CHANNELS
    for unit in range(start, stop):
        cloud, low = unit // blocks, unit % blocks * CHANNELS
        high = min(low + CHANNELS, channels)
        sum_a, sum_b, sum_s = mean_a[cloud, low:high], mean_b[cloud, low:high], square[cloud, low:high]
        sum_a[:], sum_b[:], sum_s[:] = 0, 0, 0
        count = 0.0
        for i in range(points):
            d, e = degree[cloud, i], edges[cloud, i]
            count += e
            line_a, line_b = a[cloud, i, low:high], b[cloud, i, low:high]
            for c in range(high - low):
                sum_a[c] += d * line_a[c]
                sum_b[c] += e * line_b[c]
        count = max(count, 1.0)
        for c in range(high - low):
            sum_a[c] /= count
            sum_b[c] /= count
        centre_a, centre_b = sum_a.astype(np.float32), sum_b.astype(np.float32)
        for i in range(points):
            d, e = degree[cloud, i], edges[cloud, i]
            line_a, line_b, line_s = a[cloud, i, low:high], b[cloud, i, low:high], total[cloud, i, low:high]
            for c in range(high - low):
                from_a, from_b = line_a[c] - centre_a[c], line_b[c] - centre_b[c]
                both = np.float32(2) * (line_s[c] - e * centre_a[c]) + e * from_b
                sum_s[c] += d * from_a * from_a + from_b * both


@jit
def activate(
    best: F32, b: F32, edges: F32, scale: F32, shift: F32, slope: float, out: F32, start: int, stop: int
) -> None:
    """Add b to the maxima in place and write LeakyReLU(scale maximum + shift), 0 where a point has no edge.

    Args:
        best: (n, C), overwritten.
        b: (n, C).
        edges: (n,).
        scale: (C,).
        shift: (C,).
        slope: Of LeakyReLU.
        out: (n, C) written.
        start: First row.
        stop: Past the last row.
    """
    low = np.float32(slope)
    for row in range(start, stop):
        top, own, result, there = best[row], b[row], out[row], edges[row] > 0
        for c in range(len(scale)):
            top[c] += own[c]
            value = top[c] * scale[c] + shift[c]
            value = value if value > 0 else value * low
            result[c] = value if there else np.float32(0)


@jit
def through_activation(
    grad: F32, out: F32, best: F32, edges: F32, mean: F32, slope: float, sums: F64, start: int, stop: int
) -> None:
    """Take gradients back through LeakyReLU in place, and sum them and their products with the centred maxima.

    Args:
        grad: (B, N, C), overwritten.
        out: (B, N, C) what the layer gave.
        best: (B, N, C) maxima.
        edges: (B, N).
        mean: (C,).
        slope: Of LeakyReLU.
        sums: (B, 2, C) written: sums over each cloud.
        start: First cloud.
        stop: Past the last one.
    """
    points, channels = grad.shape[1], grad.shape[2]
    low, zero = np.float32(slope), np.float32(0)
    for cloud in range(start, stop):
        plain, moment = sums[cloud, 0], sums[cloud, 1]
        plain[:], moment[:] = 0, 0
        for i in range(points):
            line, result, top, there = grad[cloud, i], out[cloud, i], best[cloud, i], edges[cloud, i] > 0
            for c in range(channels):
                value = line[c] if result[c] > zero else line[c] * low
                value = value if there else zero
                line[c] = value
                plain[c] += value
                moment[c] += value * (top[c] - mean[c])


@jit
def spread_to_neighbours(
    grad: F32, arg: I32, a: F32, b: F32, total: F32, neighbours: I64, degree: F32, edges: F32, mean: F32,
    scale: F32, c0: F32, c1: F32, batch: bool, both: F32, start: int, stop: int,
) -> None:
    """Write the gradients of a and b, side by side.

    grad_a_j = sum of scale grad_ic over the (i, c) whose maximum is at j
               + d_j (c0 + c1 (a_j - mean)) + c1 (sum of b_i over the i that have j as a neighbour),
    grad_b_i = scale grad_i + k_i (c0 + c1 (b_i - mean)) + c1 S_i; without batch statistics c0 = c1 = 0.

    Args:
        grad: (B, N, C) gradients of the normalised maxima.
        arg: (B, N, C) positions of the maxima.
        a: (B, N, C).
        b: (B, N, C).
        total: (B, N, C) sums S of a over neighbours.
        neighbours: (B, N, k).
        degree: (B, N) in-degrees d.
        edges: (B, N) out-degrees k_i.
        mean: (C,) of the edges.
        scale: (C,) of the normalisation.
        c0: (C,).
        c1: (C,).
        batch: Whether statistics are those of the batch.
        both: (B, N, 2 C) written.
        start: First unit (cloud times blocks of channels).
        stop: Past the last one.
    """
    points, channels, k = a.shape[1], a.shape[2], neighbours.shape[2]
    blocks = (channels + CHANNELS - 1) // CHANNELS
    received = np.empty((points, CHANNELS), np.float32)
    for unit in range(start, stop):
        cloud, low = unit // blocks, unit % blocks * CHANNELS
        width = min(low + CHANNELS, channels) - low
        m, s, p, q = mean[low:], scale[low:], c0[low:], c1[low:]
        received[:] = 0
        if batch:
            for i in range(points):
                own, spare = b[cloud, i, low:], np.float32(k) - edges[cloud, i]
                for slot in range(k):
                    line = received[neighbours[cloud, i, slot]]
                    for c in range(width):
                        line[c] += own[c]
                line = received[i]
                for c in range(width):
                    line[c] -= spare * own[c]
            for i in range(points):
                line, d, e = received[i], degree[cloud, i], edges[cloud, i]
                own_a, own_b, added = a[cloud, i, low:], b[cloud, i, low:], total[cloud, i, low:]
                to_b, wanted = both[cloud, i, channels + low:], grad[cloud, i, low:]
                for c in range(width):
                    line[c] = q[c] * line[c] + d * (p[c] + q[c] * (own_a[c] - m[c]))
                    to_b[c] = s[c] * wanted[c] + e * (p[c] + q[c] * (own_b[c] - m[c])) + q[c] * added[c]
        else:
            for i in range(points):
                to_b, wanted = both[cloud, i, channels + low:], grad[cloud, i, low:]
                for c in range(width):
                    to_b[c] = s[c] * wanted[c]
        for i in range(points):
            wanted, place = grad[cloud, i, low:], arg[cloud, i, low:]
            for c in range(width):
                received[place[c], c] += s[c] * wanted[c]
        for i in range(points):
            line, to_a = received[i], both[cloud, i, low:]
            for c in range(width):
                to_a[c] = line[c]


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
