"""Exact duplicates: a 64-bit hash of every person in every frame, and of every clip.

A row's hash is a multilinear one over its coordinates and its mask (two different rows agree with probability
2^-63 over the choice of the fixed multipliers); a clip's hash adds up its rows' hashes, each mixed with the
row's person and frame. Clips of one hash are compared bit by bit before they are called the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.audit.blocks import Block, Ints, blocks
from ssl_skel.data.store import Store

Hashes = NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class StoreHashes:
    """Hashes of a store.

    Attributes:
        clips: (C,) of each clip.
        rows: (R,) of each row; 0 where no joint is valid.
    """

    clips: Hashes
    rows: Hashes


def hash_store(store: Store) -> StoreHashes:
    """Hash every row and clip of a store."""
    clips = np.zeros(len(store), np.uint64)
    rows = np.zeros(len(store.rows), np.uint64)
    done = 0
    for block in blocks(store):
        found = _hash_rows(block)
        rows[done:done + len(found)] = found
        done += len(found)
        clips[block.first:block.first + len(block)] = _hash_clips(block, found)
    return StoreHashes(clips, rows)


def _hash_rows(block: Block) -> Hashes:
    # Adding zero makes -0.0 and 0.0 one value.
    words = np.ascontiguousarray(block.rows + np.float32(0)).reshape(len(block.rows), -1).view(np.uint32)
    rng = np.random.Generator(np.random.PCG64(20240607))
    factors = rng.integers(0, 2**63, words.shape[1] + block.valid.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    result = np.full(len(words), factors[0])
    for column in range(words.shape[1]):
        result += words[:, column] * factors[column]
    for joint in range(block.valid.shape[1]):
        result += block.valid[:, joint] * factors[words.shape[1] + joint]
    return np.where(block.valid.any(axis=1), _mix(result) | np.uint64(1), np.uint64(0))


def _hash_clips(block: Block, rows: Hashes) -> Hashes:
    person = block.tracks["person"][block.track_of].astype(np.uint64)
    mixed = _mix(rows + _mix((person << np.uint64(32)) + block.frame_of.astype(np.uint64)))
    result = _mix(block.index["frames"].astype(np.uint64))
    np.add.at(result, block.clip_of, np.add.reduceat(mixed, block.begin))
    return result


def _mix(values: Hashes) -> Hashes:
    """splitmix64's finaliser."""
    values = values + _STEP
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def duplicate_groups(store: Store, hashes: Hashes) -> list[list[int]]:
    """Group clips that are the same, bit by bit.

    Args:
        store: An open store.
        hashes: (C,) of its clips.

    Returns:
        Groups of at least two positions in the index, ascending, ordered by their first.
    """
    order = np.argsort(hashes, kind="stable")
    borders = np.flatnonzero(np.diff(hashes[order])) + 1
    groups: list[list[int]] = []
    for members in np.split(order, borders):
        if len(members) > 1:
            groups += _truly_same(store, members.tolist())
    return sorted(groups)


def _truly_same(store: Store, members: list[int]) -> list[list[int]]:
    """Divide clips of one hash into groups that are equal."""
    groups: dict[bytes, list[int]] = {}
    for position in members:
        clip = store.clip(position)
        key = repr(clip.xyz.shape).encode() + (clip.xyz + np.float32(0)).tobytes() + clip.valid.tobytes()
        groups.setdefault(key, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def shared_rows(store: Store, rows: Hashes, train: Ints, test: Ints) -> Ints:
    """Count, for each test clip, its rows (a person in a frame) that a training clip also has.

    Args:
        store: An open store.
        rows: (R,) hashes of its rows.
        train: Positions of training clips.
        test: Positions of test clips.

    Returns:
        (len(test),) counts.
    """
    part = np.zeros(len(store), np.int8)
    part[train], part[test] = 1, 2
    of_track = part[store.tracks["clip"]]
    of_row = np.repeat(of_track, store.tracks["length"])
    known = np.unique(rows[(of_row == 1) & (rows != 0)])
    asked = np.flatnonzero((of_row == 2) & (rows != 0))
    found = asked[np.isin(rows[asked], known, assume_unique=False)] if len(known) else asked[:0]
    clip_of_row = np.repeat(store.tracks["clip"].astype(np.int64), store.tracks["length"])
    return np.bincount(clip_of_row[found], minlength=len(store))[test].astype(np.int64)
