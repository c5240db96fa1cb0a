"""Clips that look broken: each check gives every clip a number, and says from which number on to look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.audit.blocks import Block, Ints, blocks
from ssl_skel.data.layouts import Layout
from ssl_skel.data.store import Store

STILL = 1e-6
SWAP_CLEARLY = 0.5
"""A swap makes the step from frame to frame at least this much smaller."""

SWAP_PERSONS = 0.3
SWAP_SIDES = 0.1
"""Metres that joints jump on average where a swap is suspected; less is noise."""


@dataclass(frozen=True)
class Check:
    """A check of single clips.

    Attributes:
        name: Short name.
        what: One line.
        limit: A clip is flagged where its number is at least this.
        measure: (block, layout, scale to metres) -> (C,) numbers.
    """

    name: str
    what: str
    limit: float
    measure: Callable[[Block, Layout, float], NDArray[np.float64]]


def measure_store(store: Store, scale: float) -> dict[str, NDArray[np.float64]]:
    """Apply every check to every clip.

    Args:
        store: An open store.
        scale: Factor to metres.

    Returns:
        Name of the check -> (C,) numbers.
    """
    result = {check.name: np.zeros(len(store)) for check in CHECKS}
    for block in blocks(store):
        for check in CHECKS:
            result[check.name][block.first:block.first + len(block)] = check.measure(block, store.layout, scale)
    return result


def _empty(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    return np.asarray(block.count(np.any(block.valid, axis=1)) == 0, np.float64)


def _one_frame(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    return np.asarray(block.index["frames"] <= 1, np.float64)


def _constant(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    at = _later_rows(block)
    step = np.abs(block.rows[at] - block.rows[at - 1]).max(axis=(1, 2), initial=0)
    largest = block.per_clip(step, block.track_of[at])
    return ((largest * scale < STILL) & (block.index["frames"] > 1)).astype(np.float64)


def _not_finite(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    return block.count(block.broken).astype(np.float64)


def _missing_joints(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    missing = np.where(block.valid.any(axis=1), (~block.valid).sum(axis=1), 0)
    owner = block.clip_of[block.track_of]
    return np.bincount(owner, missing, minlength=len(block)).astype(np.float64)


def _bone_jump(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    child, parent = np.array(layout.bones).T
    length = np.linalg.norm(block.rows[:, child] - block.rows[:, parent], axis=2)
    known = block.valid[:, child] & block.valid[:, parent]
    total = np.add.reduceat(np.where(known, length, 0), block.begin, axis=0, dtype=np.float64)
    mean = total / np.maximum(np.add.reduceat(known, block.begin, axis=0, dtype=np.int64), 1)
    at = _later_rows(block)
    both = known[at] & known[at - 1]
    jump = np.where(both, np.abs(length[at] - length[at - 1]) / np.maximum(mean[block.track_of[at]], 1e-9), 0)
    worst_half = np.sort(jump, axis=1)[:, jump.shape[1] // 2:]
    return block.per_clip(worst_half.mean(axis=1), block.track_of[at])


def _persons_swapped(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    count = np.zeros(len(block))
    persons = int(block.tracks["person"].max()) + 1
    for a, b in combinations(range(persons), 2):
        row_a, row_b, track = _together(block, a, b)
        keep = _distance(block, row_a, row_a - 1) + _distance(block, row_b, row_b - 1)
        swap = _distance(block, row_a, row_b - 1) + _distance(block, row_b, row_a - 1)
        wrong = (keep * scale > 2 * SWAP_PERSONS) & (swap < SWAP_CLEARLY * keep)
        count += block.count(wrong, track)
    return count


def _together(block: Block, a: int, b: int) -> tuple[Ints, Ints, Ints]:
    """Rows of two persons in the frames in which both are there, and were in the frame before; and a's track."""
    tracks = block.tracks
    of_a, of_b = (np.full(len(block), -1) for _ in range(2))
    for person, table in ((a, of_a), (b, of_b)):
        chosen = np.flatnonzero(tracks["person"] == person)
        table[block.clip_of[chosen]] = chosen
    clips = np.flatnonzero((of_a >= 0) & (of_b >= 0))
    first, second = of_a[clips], of_b[clips]
    start = np.maximum(tracks["start"][first], tracks["start"][second]) + 1
    stop = np.minimum(tracks["start"][first] + tracks["length"][first],
                      tracks["start"][second] + tracks["length"][second])
    number = np.maximum(stop - start, 0)
    frame = np.repeat(start - np.cumsum(number) + number, number) + np.arange(number.sum())
    row_a = np.repeat(block.begin[first] - tracks["start"][first], number) + frame
    row_b = np.repeat(block.begin[second] - tracks["start"][second], number) + frame
    return row_a, row_b, np.repeat(first, number)


def _sides_swapped(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    at = _later_rows(block)
    sided = np.array(layout.mirror_pairs).ravel()
    mirror = np.array(layout.mirror)[sided]
    keep = _distance(block, at, at - 1, sided, sided)
    swap = _distance(block, at, at - 1, mirror, sided)
    wrong = (keep * scale > SWAP_SIDES) & (swap < SWAP_CLEARLY * keep)
    return block.count(wrong, block.track_of[at]).astype(np.float64)


def _later_rows(block: Block) -> Ints:
    """Rows (n,) whose predecessor is the same person one frame before."""
    return np.flatnonzero(block.track_of[1:] == block.track_of[:-1]) + 1


def _distance(block: Block, row: Ints, other: Ints, joints: Ints | slice = slice(None),
              other_joints: Ints | slice = slice(None)) -> NDArray[np.float64]:
    """Mean distance (n,) of the joints of rows to those of other rows, over the joints valid in both; else 0."""
    step = np.linalg.norm(block.rows[row][:, joints] - block.rows[other][:, other_joints], axis=2)
    both = block.valid[row][:, joints] & block.valid[other][:, other_joints]
    return np.asarray((step * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1), np.float64)


def _mirrored(block: Block, layout: Layout, scale: float) -> NDArray[np.float64]:
    """Rows in which the feet point away from where left and right say that the front is, less the others, as a share.

    Zero for layouts without ankles.
    """
    names = layout.joints
    if "left_ankle" not in names:
        return np.zeros(len(block))
    hips, ankles, feet = ([names.index(f"{side}_{joint}") for side in ("left", "right")]
                          for joint in ("hip", "ankle", "foot"))
    across = block.rows[:, hips[1]] - block.rows[:, hips[0]]
    toes = (block.rows[:, feet] - block.rows[:, ankles]).sum(axis=1)
    side, depth = 0, 3 - layout.up
    # The front is up x (left -> right).
    agrees = np.sign(across[:, depth] * toes[:, side] - across[:, side] * toes[:, depth])
    known = block.valid[:, hips + ankles + feet].all(axis=1)
    owner = block.clip_of[block.track_of]
    votes = np.bincount(owner, np.where(known, agrees, 0), minlength=len(block))
    return np.asarray(-votes / np.maximum(np.bincount(owner, known, minlength=len(block)), 1))


CHECKS = (
    Check("empty", "no valid joint in the whole clip", 1, _empty),
    Check("one-frame", "a single frame", 1, _one_frame),
    Check("constant", "nothing moves from the first frame to the last", 1, _constant),
    Check("not-finite", "rows with NaN or infinite numbers", 1, _not_finite),
    Check("missing-joints", "joints that were not seen (or stood at zero) in frames that were recorded", 1,
          _missing_joints),
    Check("bone-jump", "half of the bones change their length by this share from one frame to the next", 0.5,
          _bone_jump),
    Check("persons-swapped", "frames in which two persons change places", 1, _persons_swapped),
    Check("sides-swapped", "frames in which left and right change places", 1, _sides_swapped),
    Check("mirrored", "by where the feet point, left and right are exchanged (share of frames that say so, less the "
          "others)", 0.5, _mirrored),
)
