"""The prepared form of a dataset: ragged, memory-mapped, digested.

A store is a folder of npy files and one ``meta.json``. Only the frames and persons that were recorded are
kept: one row is one person in one frame, the rows of a person in a clip form a *track*, the tracks of a clip
follow one another, and clips stand in the order of their names. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.clip import NAME_BYTES, RawClip
from ssl_skel.data.layouts import LAYOUTS, Layout, get_layout
from ssl_skel.errors import DataMissing, DigestMismatch
from ssl_skel.ids import file_sha256
from ssl_skel.jsonio import read_json

SCHEMA = 1
FILES = ("rows.npy", "valid.npy", "tracks.npy", "index.npy")
INDEX_DTYPE = np.dtype([
    ("name", f"S{NAME_BYTES}"), ("frames", "<i4"), ("first_track", "<i8"), ("num_tracks", "<i4"),
    ("label", "<i4"), ("subject", "<i4"), ("view", "<i4"), ("setup", "<i4"), ("repetition", "<i4"),
])
TRACK_DTYPE = np.dtype([
    ("clip", "<i4"), ("person", "<i4"), ("start", "<i4"), ("length", "<i4"), ("offset", "<i8"),
])
_DTYPES = {"rows.npy": np.dtype("<f4"), "valid.npy": np.dtype("<u4"), "tracks.npy": TRACK_DTYPE,
           "index.npy": INDEX_DTYPE}
MAX_FRAMES = 10**6
MAX_META_BYTES = 10_000_000
MAX_PERSONS = 100


@dataclass(frozen=True)
class Store:
    """An open store; every array is a read-only memory map.

    Attributes:
        path: Its folder.
        meta: Content of ``meta.json``.
        layout: Joint layout with the dataset's number of persons.
        rows: (R, V, 3) float32, zero in joints that are not valid.
        valid: (R,) uint32, bit v set where joint v was seen.
        tracks: `TRACK_DTYPE`: clip, person, start frame, length, offset of the first row.
        index: `INDEX_DTYPE`: one row a clip, sorted by name.
    """

    path: Path
    meta: Mapping[str, Any]
    layout: Layout
    rows: NDArray[np.float32]
    valid: NDArray[np.uint32]
    tracks: NDArray[Any]
    index: NDArray[Any]

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a store without reading its rows.

        Raises:
            DataMissing: If it is absent, half prepared, torn, or of another schema.
            DigestMismatch: If ``meta.json`` does not agree with itself.
        """
        path = Path(path)
        meta = _read_meta(path)
        rows, valid, tracks, index = (_map(path, name, meta) for name in FILES)
        layout = get_layout(meta["layout"], meta["persons"])
        store = cls(path, meta, layout, rows, valid, tracks, index)
        store._check_shape()
        return store

    def __len__(self) -> int:
        return len(self.index)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that the store holds."""
        return str(self.meta["digest"])

    @property
    def names(self) -> list[str]:
        """Clip names, sorted."""
        return [name.decode() for name in self.index["name"].tolist()]

    def clip(self, position: int) -> RawClip:
        """Return one clip in dense form, with the persons that it has.

        Args:
            position: In the index.
        """
        entry = self.index[position]
        first = int(entry["first_track"])
        tracks = self.tracks[first:first + int(entry["num_tracks"])]
        shape = len(tracks), int(entry["frames"]), self.layout.num_joints
        xyz, valid = np.zeros((*shape, 3), np.float32), np.zeros(shape, bool)
        for person, track in enumerate(tracks):
            rows = slice(int(track["offset"]), int(track["offset"]) + int(track["length"]))
            frames = slice(int(track["start"]), int(track["start"]) + int(track["length"]))
            xyz[person, frames] = self.rows[rows]
            valid[person, frames] = unpack_bits(self.valid[rows], self.layout.num_joints)
        fields = {name: int(entry[name]) for name in ("label", "subject", "view", "setup", "repetition")}
        return RawClip(entry["name"].decode(), xyz, valid, **fields)

    def clips(self) -> Iterator[RawClip]:
        """Iterate over all clips in dense form."""
        return (self.clip(position) for position in range(len(self)))

    def verify(self) -> None:
        """Read every byte and compare with the digests.

        Raises:
            DigestMismatch: If a file is not what was written.
        """
        for name in FILES:
            if file_sha256(self.path / name) != self.meta["files"][name]["sha256"]:
                raise DigestMismatch(f"{self.path / name} has changed since it was prepared",
                                     "Prepare the dataset again with --force.")

    def _check_shape(self) -> None:
        rows, names = len(self.rows), self.index["name"]
        shaped = (self.rows.shape == (rows, self.layout.num_joints, 3) and self.valid.shape == (rows,)
                  and self.tracks.ndim == self.index.ndim == 1)
        named = shaped and bool((names[1:] > names[:-1]).all() and
                                (np.frombuffer(names.tobytes(), np.uint8) < 128).all())
        if not (named and self._tracks_fit()):
            raise DigestMismatch(f"the index of {self.path} does not fit its rows", _again(self.path))

    def _tracks_fit(self) -> bool:
        """Whether the tracks of the clips follow one another, each within its clip, and cover the rows."""
        tracks, count = self.tracks, self.index["num_tracks"].astype(np.int64)
        frames, persons = self.index["frames"], self.layout.persons
        if not bool(((count >= 0) & (count <= persons) & (frames >= 1) & (frames <= MAX_FRAMES)).all()):
            return False
        first, start = np.cumsum(count) - count, tracks["start"].astype(np.int64)
        length = tracks["length"].astype(np.int64)
        if int(count.sum()) != len(tracks) or int(length.sum()) != len(self.rows):
            return False
        clip = np.repeat(np.arange(len(count)), count)
        return bool(
            (self.index["first_track"] == first).all()
            and (tracks["clip"] == clip).all()
            and (tracks["person"] == np.arange(len(tracks)) - first[clip]).all()
            and ((start >= 0) & (length >= 1) & (start + length <= frames[clip])).all()
            and (tracks["offset"] == np.cumsum(length) - length).all())


def unpack_bits(bits: NDArray[np.uint32], joints: int) -> NDArray[np.bool_]:
    """Turn bit masks (...,) into booleans (..., V)."""
    shifts = np.arange(joints, dtype=np.uint32)
    return ((bits[..., None] >> shifts) & np.uint32(1)).astype(bool)


def pack_bits(valid: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Turn booleans (..., V), V <= 32, into bit masks (...,) uint32."""
    weights = np.left_shift(np.uint32(1), np.arange(valid.shape[-1], dtype=np.uint32))
    return np.asarray((valid * weights).sum(axis=-1, dtype=np.uint32))


def content_digest(meta: Mapping[str, Any]) -> str:
    """Digest of a store: what it is called, how it is laid out, where it came from, and its files."""
    content = {key: meta[key] for key in ("schema", "dataset", "layout", "persons", "origin")}
    content["files"] = {name: meta["files"][name]["sha256"] for name in FILES}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _again(path: Path) -> str:
    return f"Run `ssl-skel data prepare {path.name} --force` again."


def _read_meta(path: Path) -> dict[str, Any]:
    partial = path.with_name(path.name + ".partial")
    if not (path / "meta.json").is_file():
        if partial.is_dir():
            raise DataMissing(f"{path.name} is only half prepared ({partial})",
                              "Run the same `ssl-skel data prepare` again; it goes on where it stopped.")
        raise DataMissing(f"{path.name} is not prepared in {path.parent}",
                          f"Run `ssl-skel data prepare {path.name} --raw DIR`, or give --data-root.")
    try:
        meta = read_json(path / "meta.json", MAX_META_BYTES, finite=True)
        if meta["schema"] != SCHEMA:
            raise DataMissing(f"{path} has store schema {meta['schema']}, not {SCHEMA}", _again(path))
        if content_digest(meta) != meta["digest"]:
            raise DigestMismatch(f"{path / 'meta.json'} has not the digest that it claims", _again(path))
        if meta["layout"] not in LAYOUTS or not 1 <= int(meta["persons"]) <= MAX_PERSONS:
            raise ValueError("no layout")
    except OSError as error:
        raise DataMissing(f"can't read {path / 'meta.json'}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataMissing(f"{path / 'meta.json'} is damaged", _again(path)) from None
    return dict(meta)


def _map(path: Path, name: str, meta: Mapping[str, Any]) -> NDArray[Any]:
    file = path / name
    try:
        size, expected = file.stat().st_size, meta["files"][name]["bytes"]
        if size != expected:
            raise DataMissing(f"{file} has {size} bytes, {expected} expected", _again(path))
        found: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")  # refuses arrays of objects
        if found.dtype != _DTYPES[name]:
            raise ValueError("another type of numbers")
        return found
    except OSError as error:
        raise DataMissing(f"can't read {file}: {error.strerror}", _again(path)) from None
    except (ValueError, KeyError, TypeError, EOFError, SyntaxError, RecursionError, OverflowError, tokenize.TokenError):
        raise DataMissing(f"{file} is damaged", _again(path)) from None
