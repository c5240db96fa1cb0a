"""Compiled steps of the edge convolution, for float32 on CPUs; `neighbours` calls them through `fast`.

Each function works on a range of units (rows, clouds, blocks of channels) and touches nothing that another
unit writes, so that any cut into ranges gives the same numbers. Inner loops run along contiguous memory and
select instead of branching, which the compiler turns into vector instructions without being allowed to
reorder sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssl_skel.nn.fast_jit import jit

__all__ = [
    "activate", "channel_block", "edge_moments", "max_over_neighbours", "spread_to_neighbours", "through_activation",
]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

TABLE = 1 << 18
"""Entries of a table of points times channels that a core's own cache holds, more or less."""


def channel_block(points: int, channels: int) -> int:
    """Return how many channels to work on at once: long lines for the processor's vectors, a table for its cache."""
    return min(channels, max(64, TABLE // points // 64 * 64))


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
    a: F32, b: F32, total: F32, degree: F32, edges: F32, mean_a: F64, mean_b: F64, square: F64, block: int,
    start: int, stop: int,
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
        block: Channels of a unit.
        start: First unit (cloud times blocks of channels).
        stop: Past the last one.
    """
    points, channels = a.shape[1], a.shape[2]
    blocks = (channels + block - 1) // block
    for unit in range(start, stop):
        cloud, low = unit // blocks, unit % blocks * block
        high = min(low + block, channels)
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
def _receive(b: F32, neighbours: I64, edges: F32, received: F32) -> None:
    """Add to each point j the b_i of the points i that have j as a neighbour, repeated slots left out.

    Args:
        b: (N, c).
        neighbours: (N, k).
        edges: (N,) numbers of real edges.
        received: (N, c or more), added to.
    """
    k = neighbours.shape[1]
    for i in range(len(b)):
        own = b[i]
        for slot in range(k):
            line = received[neighbours[i, slot]]
            for c in range(len(own)):
                line[c] += own[c]
        line, spare = received[i], np.float32(k) - edges[i]
        for c in range(len(own)):
            line[c] -= spare * own[c]


@jit
def _add_statistics(
    a: F32, b: F32, total: F32, degree: F32, edges: F32, mean: F32, c0: F32, c1: F32, to_a: F32, to_b: F32
) -> None:
    """Turn what was received into the part of both gradients that flows through the statistics.

    Args:
        a: (N, c).
        b: (N, c).
        total: (N, c) sums of a over neighbours.
        degree: (N,) in-degrees.
        edges: (N,) out-degrees.
        mean: (c,) of the edges.
        c0: (c,).
        c1: (c,).
        to_a: (N, c or more) sums of b, overwritten with gradients of a.
        to_b: (N, c) written.
    """
    for i in range(len(a)):
        own_a, own_b, added, line_a, line_b = a[i], b[i], total[i], to_a[i], to_b[i]
        d, e = degree[i], edges[i]
        for c in range(len(own_a)):
            line_a[c] = c1[c] * line_a[c] + d * (c0[c] + c1[c] * (own_a[c] - mean[c]))
            line_b[c] = e * (c0[c] + c1[c] * (own_b[c] - mean[c])) + c1[c] * added[c]


@jit
def spread_to_neighbours(
    grad: F32, arg: I32, a: F32, b: F32, total: F32, neighbours: I64, degree: F32, edges: F32, mean: F32,
    scale: F32, c0: F32, c1: F32, batch: bool, both: F32, width: int, start: int, stop: int,
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
        width: Channels of a unit.
        start: First unit (cloud times blocks of channels).
        stop: Past the last one.
    """
    points, channels = a.shape[1], a.shape[2]
    blocks = (channels + width - 1) // width
    received = np.empty((points, width), np.float32)
    for unit in range(start, stop):
        cloud, low = unit // blocks, unit % blocks * width
        high = min(low + width, channels)
        block = slice(low, high)
        received[:] = 0
        if batch:
            _receive(b[cloud, :, block], neighbours[cloud], edges[cloud], received)
            _add_statistics(
                a[cloud, :, block], b[cloud, :, block], total[cloud, :, block], degree[cloud], edges[cloud],
                mean[block], c0[block], c1[block], received, both[cloud, :, channels + low:channels + high],
            )
        else:
            both[cloud, :, channels + low:channels + high] = 0
        for i in range(points):
            wanted, place, to_b = grad[cloud, i, block], arg[cloud, i, block], both[cloud, i, channels + low:]
            for c in range(high - low):
                value = scale[low + c] * wanted[c]
                to_b[c] += value
                received[place[c], c] += value
        for i in range(points):
            line, to_a = received[i], both[cloud, i, block]
            for c in range(high - low):
                to_a[c] = line[c]
