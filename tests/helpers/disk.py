"""The tiny dataset as a store on disk, where its labels could be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from helpers.tiny import CARD as TINY
from helpers.tiny import make
from ssl_skel.data.store_write import Packer, Report, assemble, finish_store, save_shard

CARD = replace(TINY, name="disk", generate="", reader="helpers.disk:none")


def write_store(root: Path) -> Path:
    """Write the store below a data root and return its folder."""
    packer, work, shard = Packer(), root / "work", root / "shard.npz"
    work.mkdir(parents=True)
    for clip in make(TINY).clips():
        packer.add(clip)
    save_shard(shard, packer, Report(1, len(packer)), CARD.get_layout().num_joints)
    report = assemble([shard], work, CARD.get_layout().num_joints)
    finish_store(work, root / CARD.name, CARD, report, "raw", {})
    return root / CARD.name
