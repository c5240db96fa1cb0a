"""A store in blocks of bounded size, with the arithmetic that ties rows to tracks, clips and frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.store import Store, unpack_bits

BLOCK_ROWS = 1 << 17
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Consecutive clips of a store.

    Attributes:
        first: Position of the first clip in the index.
        index: (C,) rows of the index.
        tracks: (K,) rows of the track table.
        rows: (R, V, 3) float32, finite.
        valid: (R, V) bool, False also where the store has a number that is not finite.
        broken: (R,) bool, rows with such a number.
        begin: (K,) first row of each track in `rows`.
        clip_of: (K,) clip of each track, from 0 in this block.
        track_of: (R,) track of each row, from 0 in this block.
    """

    first: int
    index: NDArray[Any]
    tracks: NDArray[Any]
    rows: Floats
    valid: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    begin: Ints
    clip_of: Ints
    track_of: Ints

    def __len__(self) -> int:
        return len(self.index)

    @property
    def frame_of(self) -> Ints:
        """(R,) frame of each row in its clip."""
        shift: Ints = self.begin - self.tracks["start"]
        return np.arange(len(self.rows)) - shift[self.track_of]

    def per_clip(self, values: NDArray[Any], tracks: Ints | None = None) -> NDArray[np.float64]:
        """Largest value (at least 0) of each clip.

        Args:
            values: (n,) of rows, or of other things.
            tracks: (n,) track of each; default: `values` are of the rows.
        """
        result = np.zeros(len(self))
        np.maximum.at(result, self.clip_of[self.track_of if tracks is None else tracks], values)
        return result

    def count(self, wrong: NDArray[np.bool_], tracks: Ints | None = None) -> Ints:
        """Number of true values of each clip; arguments as of `per_clip`."""
        owner = self.clip_of[self.track_of if tracks is None else tracks]
        return np.bincount(owner[wrong], minlength=len(self)).astype(np.int64)


def blocks(store: Store, rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """Cut a store into blocks of whole clips with about `rows` rows each.

    Args:
        store: An open store.
        rows: A block ends with the clip that reaches this number.
    """
    ends = np.cumsum(store.tracks["length"], dtype=np.int64)
    last_track = store.index["first_track"] + store.index["num_tracks"] - 1
    clip_end = ends[last_track]
    clip = 0
    while clip < len(store):
        begin = clip_end[clip - 1] if clip else 0
        stop = max(clip + 1, int(np.searchsorted(clip_end, begin + rows, side="right")))
        yield make_block(store, clip, stop)
        clip = stop


def make_block(store: Store, first: int, stop: int) -> Block:
    """Read the clips from `first` to before `stop`."""
    index = store.index[first:stop]
    begin_track = int(index["first_track"][0])
    tracks = store.tracks[begin_track:int(index["first_track"][-1] + index["num_tracks"][-1])]
    offset = int(tracks["offset"][0])
    end = int(tracks["offset"][-1] + tracks["length"][-1])
    rows, valid = np.asarray(store.rows[offset:end]), unpack_bits(store.valid[offset:end], store.layout.num_joints)
    finite = np.all(np.isfinite(rows), axis=2)
    if not finite.all():
        rows, valid = np.where(finite[..., None], rows, np.float32(0)), valid & finite
    track_of = np.repeat(np.arange(len(tracks)), tracks["length"])
    clip_of = tracks["clip"].astype(np.int64) - first
    begin = tracks["offset"].astype(np.int64) - offset
    return Block(first, index, tracks, rows, valid, ~np.all(finite, axis=1), begin, clip_of, track_of)
