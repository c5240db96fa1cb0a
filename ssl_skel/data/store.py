"""The prepared form of a dataset: ragged, memory-mapped, digested.

A store is a folder of npy files and one ``meta.json``. Only the frames and persons that were recorded are
kept: one row is one person in one frame, the rows of a person in a clip form a *track*, the tracks of a clip
follow one another, and clips stand in the order of their names. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.clip import NAME_BYTES, RawClip
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.errors import DataMissing, DigestMismatch
from ssl_skel.ids import file_sha256

SCHEMA = 1
FILES = ("rows.npy", "valid.npy", "tracks.npy", "index.npy")
INDEX_DTYPE = np.dtype([
    ("name", f"S{NAME_BYTES}"), ("frames", "<i4"), ("first_track", "<i8"), ("num_tracks", "<i4"),
    ("label", "<i4"), ("subject", "<i4"), ("view", "<i4"), ("setup", "<i4"), ("repetition", "<i4"),
])
TRACK_DTYPE = np.dtype([
    ("clip", "<i4"), ("person", "<i4"), ("start", "<i4"), ("length", "<i4"), ("offset", "<i8"),
])


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
        rows, tracks, index = len(self.rows), self.tracks, self.index
        ends = tracks["offset"] + tracks["length"]
        sound = (
            self.rows.shape[1:] == (self.layout.num_joints, 3)
            and len(self.valid) == rows
            and int(index["num_tracks"].sum(dtype=np.int64)) == len(tracks)
            and bool((index["first_track"][1:] == np.cumsum(index["num_tracks"], dtype=np.int64)[:-1]).all())
            and bool((tracks["offset"][1:] == ends[:-1]).all())
            and (len(tracks) == 0 or (int(tracks["offset"][0]) == 0 and int(ends[-1]) == rows))
        )
        if not sound:
            raise DigestMismatch(f"the index of {self.path} does not fit its rows", _again(self.path))


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
        meta = json.loads((path / "meta.json").read_bytes())
        if meta["schema"] != SCHEMA:
            raise DataMissing(f"{path} has store schema {meta['schema']}, not {SCHEMA}", _again(path))
        if content_digest(meta) != meta["digest"]:
            raise DigestMismatch(f"{path / 'meta.json'} has not the digest that it claims", _again(path))
    except OSError as error:
        raise DataMissing(f"can't read {path / 'meta.json'}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataMissing(f"{path / 'meta.json'} is damaged", _again(path)) from None
    return dict(meta)


def _map(path: Path, name: str, meta: Mapping[str, Any]) -> NDArray[Any]:
    file = path / name
    try:
        size, expected = file.stat().st_size, meta["files"][name]["bytes"]
        if size != expected:
            raise DataMissing(f"{file} has {size} bytes, {expected} expected", _again(path))
        return np.load(file, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except OSError as error:
        raise DataMissing(f"can't read {file}: {error.strerror}", _again(path)) from None
    except (ValueError, KeyError, TypeError):
        raise DataMissing(f"{file} is damaged", _again(path)) from None
