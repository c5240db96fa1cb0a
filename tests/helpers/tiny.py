"""A benchmark so small that a run takes a second: dataset, backbone, plugins, and a folder that registers them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from ssl_skel.api import Backbone, Features, TaskConfig
from ssl_skel.bench.cells import Plan
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.run import RunOptions, run_plan
from ssl_skel.data.card import DatasetCard, Index, Masks, Split, by_name
from ssl_skel.data.clip import RawClip
from ssl_skel.data.layouts import Layout
from ssl_skel.data.memory import memory_store
from ssl_skel.data.store import Store
from ssl_skel.registry import Catalogue, discover

REPO = Path(__file__).parents[2]
CLASSES, SUBJECTS, REPETITIONS = 3, 4, 3
TRAIN_CLIPS, TEST_CLIPS = 27, 9


# -- dataset ------------------------------------------------------------------------------------------------------


def _clips() -> Iterator[RawClip]:
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        for subject in range(1, SUBJECTS + 1):
            for repetition in range(REPETITIONS):
                xyz = rng.normal(size=(1, 6, 15, 3)) * 0.1
                xyz[:, :, label] += 1.0
                yield RawClip(f"c{label}_s{subject}_e{repetition}", xyz.astype(np.float32), np.ones((1, 6, 15), bool),
                              label, subject, 1, 0, repetition)


def make(card: DatasetCard) -> Store:
    """Make the store of the tiny dataset."""
    return memory_store(card, _clips(), "tiny/1")


def _by_subject(index: Index) -> Masks:
    test = index["subject"] == SUBJECTS
    return ~test, test


def _clean(index: Index) -> Masks:
    train, test = _by_subject(index)
    return train, test & (index["repetition"] > 0)


def _by_repetition(index: Index) -> Masks:
    test = index["repetition"] == 0
    return ~test, test


CARD = DatasetCard(
    name="tiny", title="Tiny", layout="nite_15", persons=1, classes=("one", "two", "three"),
    splits=by_name(
        Split("xsub", "subject 4 is the test", _by_subject, held_out=(3,), known_leak="a made-up leak",
              clean_twin="xsub-clean"),
        Split("xsub-clean", "the same training part, fewer test clips", _clean, held_out=(3,)),
        Split("xrep", "repetition 0 is the test", _by_repetition, held_out=(3,))),
    generate="helpers.tiny:make")

ABSENT = DatasetCard(
    name="absent", title="Never prepared", layout="nite_15", persons=1, classes=CARD.classes, splits=CARD.splits,
    reader="helpers.tiny:none")


# -- backbone -----------------------------------------------------------------------------------------------------


class TinyNet(Backbone):
    """Means over valid points, two layers, batch statistics and dropout."""

    class Config(TaskConfig):
        dim: int = 8
        dropout: float = 0.1
        norm: bool = True

    def __init__(self, cfg: Any, layout: Layout) -> None:
        super().__init__(cfg, layout)
        self.dim = cfg.dim
        self.inner = nn.Linear(3 * layout.num_joints, cfg.dim)
        self.norm = nn.BatchNorm1d(cfg.dim) if cfg.norm else nn.Identity()
        self.dropout = nn.Dropout(cfg.dropout)
        self.outer = nn.Linear(cfg.dim, cfg.dim)

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        there = valid.unsqueeze(-1).to(xyz.dtype)
        mean = (xyz * there).sum((1, 2)) / there.sum((1, 2)).clamp(min=1)
        hidden = torch.relu(self.norm(self.inner(mean.flatten(1))))
        return Features(self.outer(self.dropout(hidden)))


# -- plugins ------------------------------------------------------------------------------------------------------

BODY = '''
import os
import signal
import sys
import time
from pathlib import Path

import torch

from ssl_skel.api import PretextTask, TaskConfig
from ssl_skel.errors import SkelError


class Config(TaskConfig):
    scale: float = 1.0


class Plugin(PretextTask):
    Config = Config

    def __init__(self, cfg, backbone, layout):
        super().__init__()
        self.cfg = cfg
        self.encoder = backbone()
        self.head = torch.nn.Linear(self.encoder.dim, 3)
        self.register_buffer("centre", torch.zeros(3))
        self.layout = layout

    def views(self, batch, gen):
        noise = torch.randn(batch.xyz.shape, generator=gen)
        return batch.xyz + 0.01 * noise, batch.valid

    def forward(self, views):
        xyz, valid = views
        out = self.head(self.encoder(xyz, valid, self.layout).pooled)
        loss = self.cfg.scale * ((out - xyz.mean((1, 2, 3))) ** 2).mean()
        return {"loss": loss, "size": out.abs().mean()}

    def after_step(self, step, total):
        self.centre += 0.1 * (self.head.bias.detach() - self.centre)
        if "TINY_JOURNAL" in os.environ:
            with open(os.environ["TINY_JOURNAL"], "a") as handle:
                handle.write(f"{os.getpid()} {step}\\n")
        time.sleep(float(os.environ.get("TINY_NAP", "0")))

    def encoders(self):
        return {"encoder": self.encoder}
'''


def write_plugin(folder: Path, after_step: str = "", body: str = BODY, **card: Any) -> Path:
    """Write a plugin folder.

    Args:
        folder: Its name is the plugin's.
        after_step: Line that is put into `after_step`, e.g. one that raises.
        body: Of ``plugin.py``.
        card: Keys of the card that differ.
    """
    folder.mkdir(parents=True)
    content = {"schema": 1, "name": folder.name, "version": 1, "family": "other", "summary": f"tiny {folder.name}",
               "backbones": {"default": "tiny"}, "batch_invariant": True,
               "train": {"epochs": 2, "batch": 9, "frames": 4}, **card}
    (folder / "plugin.yaml").write_text(yaml.safe_dump(content))
    line = f"        {after_step}\n" if after_step else ""
    (folder / "plugin.py").write_text(body.replace("(self, step, total):\n", f"(self, step, total):\n{line}"))
    return folder


class Workshop:
    """A folder with its own registry: the tiny dataset, backbone and plugins, and a suite of them."""

    def __init__(self, root: Path, plugins: Sequence[str] = ("tiny",), **registry: Any) -> None:
        self.root = root / "workshop"
        for name in plugins:
            write_plugin(self.root / "plugins" / name)
        content = {
            "schema": 1, "plugins": ["plugins/*"],
            "datasets": {"tiny": {"target": "helpers.tiny:CARD"}, "absent": {"target": "helpers.tiny:ABSENT"}},
            "backbones": {"tiny": {"target": "helpers.tiny:TinyNet"}},
            "suites": {"tiny": {"title": "Tiny", "datasets": ["tiny/xsub"], "evaluators": ["knn"],
                                "entries": [{"plugin": name} for name in plugins], "baseline": plugins[0]}},
            **registry}
        (self.root / "registry.yaml").write_text(yaml.safe_dump(content))
        self.out = root / "out"

    def plugin(self, name: str, after_step: str = "", **card: Any) -> Path:
        """Add a plugin; one more argument than nothing makes it misbehave."""
        return write_plugin(self.root / "plugins" / name, after_step, **card)

    def catalogue(self) -> Catalogue:
        """The registry with this folder's entries, read anew."""
        discover.cache_clear()
        return discover((str(self.root),))

    def plan(self, *names: str, suite: str | None = None, datasets: Sequence[str] = ("tiny/xsub",),
             evaluators: Sequence[str] = ("knn",), **asked: Any) -> Plan:
        """Plan some plugins on the tiny dataset, or a suite."""
        if suite is None:
            asked.update(names=names or ("tiny",), datasets=datasets, evaluators=evaluators)
        return plan_of(Asked(suite=suite, device="cpu", **asked), self.catalogue(), self.root / "data")

    def run_here(self, plan: Plan, **options: Any) -> int:
        """Run a plan inline, in this process; returns the exit code."""
        chosen = RunOptions(**{"out": self.out, "data_root": self.root / "data", "plugins": (str(self.root),),
                               "device": "cpu", **options})
        return run_plan(plan, self.catalogue(), InlineExecutor, chosen)

    def command(self, *arguments: str) -> list[str]:
        """A command line that knows this folder."""
        return [sys.executable, "-m", "ssl_skel", *arguments]

    @property
    def run_arguments(self) -> list[str]:
        """Options that every `bench run` here needs."""
        return ["--plugins", str(self.root), "--out", str(self.out), "--device", "cpu", "--data-root",
                str(self.root / "data")]

    def bench_run(self, *arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run ``bench run`` in a process of its own."""
        return subprocess.run(self.command("bench", "run", *self.run_arguments, *arguments), capture_output=True,
                              text=True, **{"env": environment(), "timeout": 240, **kwargs})

    def start_run(self, *arguments: str, nap: float = 0.0, journal: Path | None = None) -> subprocess.Popen[str]:
        """Start ``bench run``; every training step rests for `nap` seconds and is noted in `journal`."""
        told = {"TINY_NAP": str(nap), **({"TINY_JOURNAL": str(journal)} if journal else {})}
        return subprocess.Popen(self.command("bench", "run", *self.run_arguments, *arguments), env=environment() | told,
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def environment() -> dict[str, str]:
    """Environment in which a child process finds the package and these helpers."""
    paths = [str(REPO), str(REPO / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


# -- comparing ----------------------------------------------------------------------------------------------------

_MEASURED = ("pretrain_hours", "samples_per_s", "pretrain_peak_mb", "eval_peak_mb")


def results(out: Path) -> dict[str, dict[str, Any]]:
    """All records of an output folder by id, without what may differ between two runs of the same cells."""
    from ssl_skel.bench.store import RecordStore

    found = {}
    for record in RecordStore(out).all():
        raw = record.model_dump(mode="json")
        for key in ("time_s", "env", "started", "finished", "reproduce", "seal"):
            del raw[key]
        raw["cost"] = {key: value for key, value in raw["cost"].items() if key not in _MEASURED}
        found[record.id] = raw
    return found
