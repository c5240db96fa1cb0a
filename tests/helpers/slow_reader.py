"""Readers for tests of `data prepare`: one that takes its time, and one of files with many clips."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from ssl_skel.data.clip import RawClip
from ssl_skel.data.datasets.nw_ucla import CARD
from ssl_skel.data.prepare import prepare
from ssl_skel.data.readers.base import Dropped, Reader
from ssl_skel.data.readers.nw_ucla import NwUclaReader
from ssl_skel.errors import BadData

GATE = "SSL_SKEL_TEST_GATE"
"""Environment variable: a file that names a raw file, which is not read while it exists: so a preparation can't end
before it is disturbed."""


class SlowReader(NwUclaReader):
    def read(self, path):
        time.sleep(0.003)
        while (gate := Path(os.environ.get(GATE, "none"))).exists() and gate.read_text() == path.name:
            time.sleep(0.01)
        yield from super().read(path)


class ManyReader(Reader):
    """Files like [["name", "keep" | "drop" | "nan" | "stop"], ...]."""

    def discover(self, raw):
        return sorted(raw.glob("*.many"))

    def read(self, path):
        for name, what in json.loads(path.read_text()):
            if what == "drop":
                yield Dropped(name, "too-short", "3 frames")
            elif what == "stop":
                raise BadData(f"{path.name}: torn after {name}")
            else:
                xyz = np.full((1, 4, 20, 3), np.nan if what == "nan" else 1.0, np.float32)
                yield RawClip(name, xyz, np.ones((1, 4, 20), bool), 0, 1)


SLOW_CARD = dataclasses.replace(CARD, reader="helpers.slow_reader:SlowReader")
MANY_CARD = dataclasses.replace(CARD, reader="helpers.slow_reader:ManyReader")

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
    raw, root, workers = sys.argv[1:]
    from helpers.slow_reader import SLOW_CARD as card

    prepare(card, Path(raw), Path(root), workers=int(workers))
