"""What reads raw files and exchange files, with sound ones and ways to spoil them; `TARGETS` has the rest too."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from helpers import mutate
from helpers.exchange import pyskl_content, small_ntu60, write_crossclr, write_npz
from helpers.raw_ntu import ID, recording, skeleton_lines, standing, to_bytes
from helpers.raw_others import pku_text, sbu_text, stick_figure, write_pku, write_uwa3d
from helpers.raw_ucla import clip_name, write_clip
from ssl_skel.data.catalog import get_card
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.readers import pku, uwa3d
from ssl_skel.data.readers.base import Reader
from ssl_skel.data.readers.ntu import NtuReader
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.data.readers.sbu import SbuReader


@dataclass
class Target:
    """One kind of file.

    Attributes:
        samples: Sound files.
        read: Reads one, to its end.
        reshape: Spoils a sound file in its own form; None where there is none but bytes.
    """

    samples: tuple[bytes, ...]
    read: Callable[[bytes], object]
    reshape: Callable[[Random, bytes], bytes] | None = None

    def make(self, rng: Random) -> bytes:
        """A spoilt file."""
        sample = rng.choice(self.samples)
        if self.reshape and rng.random() < 0.6:
            with suppress(RecursionError):  # a tree deeper than can be written
                return self.reshape(rng, sample)
        return mutate.spoil(rng, sample, self.samples)


def spoil_json(rng: Random, data: bytes) -> bytes:
    """Spoil the tree of a JSON file, and sometimes its bytes too."""
    spoilt = json.dumps(mutate.spoil_tree(rng, json.loads(data))).encode("utf-8", "surrogatepass")
    return mutate.spoil(rng, spoilt, [data]) if rng.random() < 0.1 else spoilt


# -- raw files ----------------------------------------------------------------------------------------------------


def _read_raw(reader: Reader, dataset: str, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    layout = get_card(dataset).get_layout()
    for found in reader.read(path):
        if isinstance(found, RawClip):
            check_clip(found, layout)


def ntu(folder: Path) -> Target:
    frames = [{ID: frame} for frame in standing(8)]
    two = recording({ID: (0, standing(6)), ID + 40: (1, standing(5, 1))}, 6)
    samples = tuple(to_bytes(skeleton_lines(which), end) for which in (frames, two) for end in ("\r\n", "\n"))
    return Target(samples, partial(_read_raw, NtuReader(), "ntu120", folder / "S001C001P001R001A001.skeleton"))


def nw_ucla(folder: Path) -> Target:
    path = write_clip(folder, clip_name(), np.random.default_rng(0).normal(size=(4, 20, 3)))
    return Target((path.read_bytes(),), partial(_read_raw, NwUclaReader(), "nw-ucla", path), spoil_json)


def sbu(folder: Path) -> Target:
    path = folder / "s01s02" / "01" / "001" / "skeleton_pos.txt"
    path.parent.mkdir(parents=True)
    sample = sbu_text(np.random.default_rng(0).uniform(0.1, 1.9, (4, 2, 15, 3)))
    return Target((sample,), partial(_read_raw, SbuReader(), "sbu", path))


def pku_video(folder: Path) -> Target:
    path = write_pku(folder, "0002-L", pku_text(standing(12)), [(1, 0, 10, 2), (3, 4, 12, 1)])
    return Target((path.read_bytes(), pku_text(standing(5), standing(5, 1), "\r\n")),
                  partial(_read_pku, folder, path, path))


def pku_labels(folder: Path) -> Target:
    path = write_pku(folder, "0002-L", pku_text(standing(12)), [(1, 0, 10, 2), (3, 4, 12, 1), (51, 0, 12, 1)])
    labels = next((folder / "Label").rglob("*.txt"))
    return Target((labels.read_bytes(),), partial(_read_pku, folder, labels, path))


def _read_pku(folder: Path, spoilt: Path, video: Path, data: bytes) -> None:
    spoilt.write_bytes(data)
    pku._nearby.cache_clear()
    reader = pku.Pku1Reader()
    for path in reader.discover(folder):
        for found in reader.read(path):
            if isinstance(found, RawClip):
                check_clip(found, get_card("pku-mmd-1").get_layout())


def uwa3d_file(folder: Path) -> Target:
    path = write_uwa3d(folder / "a01_s01_e01_v01.mat", stick_figure(20))
    flat = write_uwa3d(folder / "flat.mat", stick_figure(20).reshape(20, 45))
    write_uwa3d(folder / "a01_s01_e02_v01.mat", stick_figure(20, 1))

    def read(data: bytes) -> None:
        uwa3d._measure_folder.cache_clear()
        _read_raw(uwa3d.Uwa3dReader(), "uwa3d", path, data)

    return Target((path.read_bytes(), flat.read_bytes()), read)


# -- exchange files -----------------------------------------------------------------------------------------------

CARD, CLIPS = small_ntu60()


def _drain(importer: Any, files: list[Path]) -> None:
    for clip in importer.clips(CARD, files):
        check_clip(clip, CARD.get_layout())


def ctrgcn(folder: Path) -> Target:
    from ssl_skel.data.importers import ctrgcn as module

    module.usable_names = lambda dataset: [clip.name for clip in CLIPS]  # as if the dataset had no others
    paths = [write_npz(folder / f"{compress}.npz", CLIPS, compress) for compress in (False, True)]
    spoilt = folder / "NTU60_CS.npz"

    def read(data: bytes) -> None:
        spoilt.write_bytes(data)
        _drain(module.CtrgcnNpz(), [spoilt])

    return Target(tuple(path.read_bytes() for path in paths), read, _spoil_zip)


def _spoil_zip(rng: Random, data: bytes) -> bytes:
    """Spoil what is in the archive, and pack it with the right checksum."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            content = old.read(name)
            head, rest = content[:128], content[128:]
            if name == chosen:
                content = mutate.spoil(rng, head, []) + rest if rng.random() < 0.7 else mutate.spoil(rng, content, [])
            new.writestr(name, content, compresslevel=1)
    return made.getvalue()


def pyskl(folder: Path) -> Target:
    from ssl_skel.data.importers.pyskl import PysklPickle

    spoilt, content = folder / "ntu60_3danno.pkl", pyskl_content(CLIPS[:4])
    few = {"split": {key: names[:2] for key, names in content["split"].items()}, "annotations": content["annotations"]}

    def read(data: bytes) -> None:
        spoilt.write_bytes(data)
        _drain(PysklPickle(), [spoilt])

    def reshape(rng: Random, data: bytes) -> bytes:
        return pickle.dumps(mutate.spoil_tree(rng, pickle.loads(data)), rng.choice((2, 4, 5)))

    return Target(tuple(pickle.dumps(few, protocol) for protocol in (2, 4, 5)), read, reshape)


def crossclr(folder: Path) -> Target:
    """The four files one after the other; which of them is spoilt is up to the first byte."""
    from ssl_skel.data.importers.crossclr import CrossclrNpy

    files = write_crossclr(folder, [clip for clip in CLIPS if clip.name[9:12] == "001"][:6])
    sound = [path.read_bytes() for path in files]

    def read(data: bytes) -> None:
        for number, path in enumerate(files):
            path.write_bytes(data[1:] if data and data[0] == number else sound[number])
        _drain(CrossclrNpy(), files)

    def reshape(rng: Random, data: bytes) -> bytes:
        cut = 129 if rng.random() < 0.5 else len(data)
        return data[:1] + mutate.spoil(rng, data[1:cut], []) + data[cut:]

    return Target(tuple(bytes([number]) + content for number, content in enumerate(sound)), read, reshape)


DATA: dict[str, Callable[[Path], Target]] = {
    "ntu": ntu, "nw-ucla": nw_ucla, "sbu": sbu, "pku-video": pku_video, "pku-labels": pku_labels, "uwa3d": uwa3d_file,
    "ctrgcn-npz": ctrgcn, "pyskl-pkl": pyskl, "crossclr-npy": crossclr}
