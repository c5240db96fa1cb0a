"""A reader that takes its time, so that a test can kill it at work."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from ssl_skel.data.datasets.nw_ucla import CARD
from ssl_skel.data.prepare import prepare
from ssl_skel.data.readers.nw_ucla import NwUclaReader


class SlowReader(NwUclaReader):
    def read(self, path):
        time.sleep(0.003)
        yield from super().read(path)


SLOW_CARD = dataclasses.replace(CARD, reader="helpers.slow_reader:SlowReader")

if __name__ == "__main__":
    raw, root, workers = sys.argv[1:]
    from helpers.slow_reader import SLOW_CARD as card

    prepare(card, Path(raw), Path(root), workers=int(workers))
