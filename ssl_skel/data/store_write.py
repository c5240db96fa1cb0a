"""Writing a store: clips are packed into shards, shards are assembled, the result is renamed into place."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel import __version__
from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.store import (
    FILES,
    INDEX_DTYPE,
    SCHEMA,
    TRACK_DTYPE,
    Store,
    content_digest,
    pack_bits,
)
from ssl_skel.errors import BadData, OutputError
from ssl_skel.fsio import output_error, write_atomic
from ssl_skel.ids import file_sha256


@dataclass
class Report:
    """What became of the raw files.

    Attributes:
        files: Files read.
        kept: Clips stored.
        dropped: (name, rule, why) of clips that a rule left out.
        unreadable: (file, reason) of files or clips that could not be read.
    """

    files: int = 0
    kept: int = 0
    dropped: list[tuple[str, str, str]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count another report in."""
        self.files += other.files
        self.kept += other.kept
        self.dropped += other.dropped
        self.unreadable += other.unreadable

    @property
    def dropped_by_rule(self) -> dict[str, int]:
        """Number of clips that each rule dropped."""
        rules = [rule for _, rule, _ in self.dropped]
        return {rule: rules.count(rule) for rule in sorted(set(rules))}

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {"files": self.files, "kept": self.kept, "dropped": sorted(self.dropped),
                "unreadable": sorted(self.unreadable)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Report:
        """Read what `as_dict` gave."""
        return cls(data["files"], data["kept"], [(a, b, c) for a, b, c in data["dropped"]],
                   [(a, b) for a, b in data["unreadable"]])


class Packer:
    """Collects clips into the arrays of a store."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float32]] = []
        self._bits: list[NDArray[np.uint32]] = []
        self._tracks: list[tuple[int, int, int, int, int]] = []
        self._index: list[tuple[Any, ...]] = []
        self._offset = 0

    def __len__(self) -> int:
        return len(self._index)

    @property
    def rows(self) -> int:
        """Rows collected."""
        return self._offset

    def add(self, clip: RawClip) -> None:
        """Append a checked clip; persons never seen are left out, the others keep their order."""
        bits = pack_bits(clip.valid)
        first, person = len(self._tracks), 0
        for xyz, valid, mask in zip(clip.xyz, clip.valid, bits):
            seen = np.flatnonzero(mask)
            if not len(seen):
                continue
            span = slice(int(seen[0]), int(seen[-1]) + 1)
            self._rows.append(np.where(valid[span, :, None], xyz[span], np.float32(0)).astype(np.float32))
            self._bits.append(mask[span])
            length = span.stop - span.start
            self._tracks.append((len(self._index), person, span.start, length, self._offset))
            self._offset += length
            person += 1
        self._index.append((clip.name.encode(), clip.xyz.shape[1], first, person, clip.label, clip.subject,
                            clip.view, clip.setup, clip.repetition))

    def arrays(self, joints: int) -> dict[str, NDArray[Any]]:
        """The arrays, as they stand in a store (but in the order of adding).

        Args:
            joints: V, for the shape of an empty result.
        """
        empty = np.zeros((0, joints, 3), np.float32)
        return {
            "rows": np.concatenate([empty, *self._rows]),
            "valid": np.concatenate([np.zeros(0, np.uint32), *self._bits]),
            "tracks": np.array(self._tracks, TRACK_DTYPE),
            "index": np.array(self._index, INDEX_DTYPE),
        }


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write below `path` into one clear line.

    Raises:
        OutputError: On a full disk, a read-only file system, missing permission.
    """
    try:
        yield
    except OSError as error:
        found = output_error(path, error)
        raise OutputError(found.what, found.todo.replace("--out", "--data-root")) from None


def save_shard(path: Path, packer: Packer, report: Report, joints: int) -> None:
    """Write one shard atomically (npz without pickles)."""
    text, buffer = json.dumps(report.as_dict()).encode(), io.BytesIO()
    np.savez(buffer, allow_pickle=False, report=np.frombuffer(text, np.uint8), **packer.arrays(joints))
    write_atomic(path, buffer.getvalue())


def load_shard(path: Path, arrays: Sequence[str]) -> tuple[dict[str, NDArray[Any]], Report] | None:
    """Read a shard, or None where it is absent or torn.

    Args:
        path: Of the shard.
        arrays: Which of rows, valid, tracks, index to read.
    """
    try:
        with np.load(path, allow_pickle=False) as shard:
            report = Report.from_dict(json.loads(shard["report"].tobytes()))
            return {name: shard[name] for name in arrays}, report
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def assemble(shards: Sequence[Path], target: Path, joints: int) -> Report:
    """Merge shards into the arrays of a store, in the order of the clips' names.

    Memory: the index and tracks of everything, the rows of one shard.

    Args:
        shards: Sound shard files.
        target: Folder to write into; exists.
        joints: V.

    Returns:
        The reports of all shards, counted together.

    Raises:
        BadData: If two clips have one name, or there is no clip at all.
    """
    report, indexes, tracks = Report(), [], []
    for shard in shards:
        arrays, part = _must_load(shard, ("index", "tracks"))
        report.add(part)
        indexes.append(arrays["index"])
        tracks.append(arrays["tracks"])
    index = np.concatenate(indexes) if indexes else np.zeros(0, INDEX_DTYPE)
    if not len(index):
        reasons = [f"{file}: {why}" for file, why in report.unreadable[:1]]
        raise BadData("no clip could be kept" + "".join(f" ({reason})" for reason in reasons))
    order = np.argsort(index["name"], kind="stable")
    same = index["name"][order][1:] == index["name"][order][:-1]
    if same.any():
        raise BadData(f"two clips are named {index['name'][order][1:][same][0].decode()}")
    table = _merge_tables(index, tracks, order)
    for name, array in zip(("index.npy", "tracks.npy"), table):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        write_atomic(target / name, buffer.getvalue())
    _write_rows(shards, indexes, target, joints, table[2])
    return report


def _merge_tables(index: NDArray[Any], parts: Sequence[NDArray[Any]], order: NDArray[np.int64]) -> tuple[
    NDArray[Any], NDArray[Any], NDArray[np.int64]
]:
    """Order index and tracks by clip name; also give each clip's first row in the result, in input order."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    counts = index["num_tracks"].astype(np.int64)
    owner = np.repeat(np.arange(len(index)), counts)
    tracks = np.concatenate(parts)
    by_clip = np.argsort(rank[owner], kind="stable")
    tracks = tracks[by_clip]
    tracks["clip"] = rank[owner][by_clip]
    ends = np.cumsum(tracks["length"], dtype=np.int64)
    tracks["offset"] = ends - tracks["length"]
    result = index[order]
    last = np.cumsum(result["num_tracks"], dtype=np.int64)
    result["first_track"] = last - result["num_tracks"]
    return result, tracks, tracks["offset"][result["first_track"]][rank]


def _write_rows(shards: Sequence[Path], indexes: Sequence[NDArray[Any]], target: Path, joints: int,
                starts: NDArray[np.int64]) -> None:
    """Copy each clip's rows to their place; written, not mapped: a full disk must raise, not kill."""
    done, total = 0, 0
    with (RowFile(target / "rows.npy", (joints, 3), "<f4") as rows,
          RowFile(target / "valid.npy", (), "<u4") as bits):
        for shard, index in zip(shards, indexes):
            arrays, _ = _must_load(shard, ("rows", "valid", "tracks"))
            begins = arrays["tracks"]["offset"][index["first_track"]]
            ends = np.append(begins[1:], len(arrays["rows"]))
            for begin, end, start in zip(begins, ends, starts[done:done + len(index)]):
                rows.put(int(start), arrays["rows"][begin:end])
                bits.put(int(start), arrays["valid"][begin:end])
            done += len(index)
            total += len(arrays["rows"])
        rows.finish(total)
        bits.finish(total)


class RowFile:
    """An npy file filled by seeking; its header is written last, when the number of rows is known."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self._file = path.open("wb")
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._header = len(self._make_header(0))
        self._row = int(np.prod(shape)) * self._dtype.itemsize

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def _make_header(self, rows: int) -> bytes:
        shape = (rows, *self._shape)
        text = f"{{'descr': '{self._dtype.str}', 'fortran_order': False, 'shape': {shape!r}, }}"
        body = text.ljust(128 - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("latin1")

    def put(self, start: int, values: NDArray[Any]) -> None:
        """Write rows from row `start`."""
        self._file.seek(self._header + start * self._row)
        self._file.write(np.ascontiguousarray(values, self._dtype).data)

    def finish(self, rows: int) -> None:
        """Write the header and force everything to the disk."""
        self._file.seek(0)
        self._file.write(self._make_header(rows))
        self._file.flush()
        os.fsync(self._file.fileno())


def _must_load(shard: Path, arrays: Sequence[str]) -> tuple[dict[str, NDArray[Any]], Report]:
    loaded = load_shard(shard, arrays)
    if loaded is None:
        raise OutputError(f"{shard} was damaged while it was in use", "Run the same command again.")
    return loaded


def finish_store(folder: Path, target: Path, card: DatasetCard, report: Report, origin: str,
                 raw: dict[str, Any], name: str = "") -> Store:
    """Digest the arrays in `folder`, write ``meta.json`` last, and rename the folder into place.

    Args:
        folder: Holds the four npy files; on the file system of `target`.
        target: Final folder; an older store there is replaced.
        card: Of the dataset.
        report: For ``report.json``.
        origin: ``raw``, ``generated`` or ``import:FORMAT``.
        raw: What the store was made from (path, files, bytes, fingerprint, reader version, policy).
        name: Dataset name to record, where it is not the card's.
    """
    rows, index = (np.load(folder / file, mmap_mode="r") for file in ("rows.npy", "index.npy"))
    meta: dict[str, Any] = {
        "schema": SCHEMA, "dataset": name or card.name, "layout": card.layout, "persons": card.persons,
        "origin": origin, "raw": raw, "created_by": f"ssl-skel {__version__}", "classes": list(card.classes),
        "counts": {"clips": len(index), "rows": len(rows),
                   "frames": int(index["frames"].sum(dtype=np.int64))},
        "report": {"files": report.files, "kept": report.kept, "dropped": report.dropped_by_rule,
                   "unreadable": len(report.unreadable)},
        "files": {file: {"bytes": (folder / file).stat().st_size, "sha256": file_sha256(folder / file)}
                  for file in FILES},
    }
    del rows, index
    meta["digest"] = content_digest(meta)
    write_atomic(folder / "report.json", json.dumps(report.as_dict(), indent=1).encode())
    write_atomic(folder / "meta.json", json.dumps(meta, indent=1).encode())
    _swap(folder, target)
    return Store.open(target)


def _swap(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; a store that stood there is removed after, never before."""
    old = target.with_name(target.name + ".old")
    if old.exists():
        shutil.rmtree(old)
    if target.exists():
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)
