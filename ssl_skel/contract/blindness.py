"""Level ``train``: a pretraining is blind to labels and test clips, whatever way there may be to read them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from ssl_skel.bench.guarded import guarded
from ssl_skel.contract.subject import Skipped, Subject, require
from ssl_skel.contract.training import fit, same, weights
from ssl_skel.data.clip import RawClip
from ssl_skel.data.datasets.synthetic import CARD, TEST_SUBJECTS
from ssl_skel.data.open import open_dataset, open_split
from ssl_skel.data.store_write import Packer, Report, assemble, finish_store, save_shard

NAME = "relabelled"
STEPS = 2
CLIPS = 96
"""Clips of the dataset on disk, of which about two in three are training clips."""


def labels_do_not_matter(subject: Subject) -> None:
    """Weights after two steps are the same when the labels of all clips, and the test clips, are replaced on disk."""
    if not any(p.requires_grad for p in subject.first()[1].parameters()):
        raise Skipped("nothing is trained")
    with tempfile.TemporaryDirectory(prefix="ssl-skel-check-") as folder, _data_root(Path(folder)):
        one, other = (_trained(subject, Path(folder), shift) for shift in (0, 1))
    require(same(one, other), "other labels or test clips give other weights: the plugin reads what it may not see")


def _trained(subject: Subject, root: Path, shift: int) -> dict[str, Tensor]:
    """Weights after some steps on the training clips of the dataset that is written for it."""
    _write(root, shift)
    card = replace(CARD, name=NAME, generate="")
    data = open_split(NAME, "xsub", root, card=card, frames=12, incomplete=True).pretraining()
    with guarded(root, subject.entry):
        return weights(fit(subject, data.clips, STEPS)[0])


@contextmanager
def _data_root(root: Path) -> Iterator[None]:
    """Let the environment name a data folder, as it does for users."""
    before = os.environ.get("SSL_SKEL_DATA")
    os.environ["SSL_SKEL_DATA"] = str(root)
    try:
        yield
    finally:
        del os.environ["SSL_SKEL_DATA"]
        if before is not None:
            os.environ["SSL_SKEL_DATA"] = before


def _write(root: Path, shift: int) -> None:
    """Write the dataset, labels shifted by so many classes and test clips mirrored, over the one before."""
    packer, work = Packer(), root / "work"
    work.mkdir()
    for clip in _clips():
        packer.add(_changed(clip, shift))
    save_shard(root / "shard.npz", packer, Report(1, len(packer)), CARD.get_layout().num_joints)
    report = assemble([root / "shard.npz"], work, CARD.get_layout().num_joints)
    finish_store(work, root / NAME, CARD, report, "generated", {}, name=NAME)


def _changed(clip: RawClip, shift: int) -> RawClip:
    test = bool(shift) and clip.subject in TEST_SUBJECTS
    return replace(clip, label=(clip.label + shift) % len(CARD.classes), xyz=-clip.xyz if test else clip.xyz)


@lru_cache(maxsize=1)
def _clips() -> list[RawClip]:
    """Every fifth synthetic clip, under a name that does not say its class."""
    store = open_dataset(CARD.name, card=CARD).store
    chosen = np.linspace(0, len(store) - 1, CLIPS).astype(int)
    return [replace(store.clip(int(position)), name=f"clip{number:03d}") for number, position in enumerate(chosen)]
