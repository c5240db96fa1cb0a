"""Checks of level ``train`` and ``full``: what shows only when the task is trained."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ssl_skel.api import Batch, PretextTask
from ssl_skel.contract.subject import SEED, Skipped, Subject, require
from ssl_skel.data.layouts import Layout
from ssl_skel.data.loader import Clips
from ssl_skel.data.open import open_split
from ssl_skel.runtime import Runtime
from ssl_skel.train import Interrupted, TrainJob, pretrain

FALL_STEPS = 30
WARM_STEPS = 5
"""Steps in which a queue of the tiny configuration fills: random keys are easier to tell apart than real ones."""
MIN_RANK = 1.5
PINNED_TOLERANCE = {"loss_1": 2e-3, "loss_3": 1e-2, "feature_norm": 5e-2}
"""Relative. Threads and machines add in another order; where a gradient is all but zero, an adaptive optimiser makes
whole steps of that, so what comes after the first step is held more loosely."""


@dataclass(frozen=True)
class _Few:
    """The first clips of the synthetic training part."""

    inner: object
    layout: Layout
    count: int

    def __len__(self) -> int:
        return self.count

    def sample(self, *args: object) -> Batch:
        return self.inner.sample(*args)  # type: ignore[attr-defined, no-any-return]

    def prefetch(self, index: Tensor) -> None:
        """Nothing to gather."""


@lru_cache
def _clips(count: int) -> _Few:
    view = open_split("synthetic", "xsub", frames=12)
    data = view.pretraining()
    return _Few(data.clips, data.layout, min(count, len(data.clips)))


def _job(subject: Subject, clips: _Few | Clips, steps: int, folder: Path, seed: int = SEED,
         stop_after: int | None = None, constant: bool = False) -> TrainJob:
    config = subject.resolved(clips.layout).train.model_dump()
    config.update(epochs=max(1, steps), max_steps=steps, ema=None)
    if constant:
        config.update(schedule="constant", warmup=0.0)
    cfg = type(subject.resolved(clips.layout).train)(**config)
    return TrainJob("contract", subject.task(clips.layout, seed), clips,  # type: ignore[arg-type]
                    [str(i) for i in range(len(clips))], cfg, seed, folder, Runtime(torch.device("cpu")),
                    stop_after=stop_after)


def fit(subject: Subject, clips: _Few | Clips, steps: int, seed: int = SEED,
        constant: bool = False) -> tuple[PretextTask, list[float]]:
    """Train for some steps; the task and the loss of each step."""
    with tempfile.TemporaryDirectory(prefix="ssl-skel-check-") as folder:
        task, _ = pretrain(_job(subject, clips, steps, Path(folder), seed, constant=constant))
        lines = (Path(folder) / "curves.jsonl").read_text(encoding="utf-8").splitlines()
        return task, [json.loads(line)["loss"] for line in lines]


def weights(task: PretextTask) -> dict[str, Tensor]:
    """Copy of all weights and buffers."""
    return {key: value.clone() for key, value in task.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return all(torch.equal(one[key], other[key]) for key in one)


def _trained(subject: Subject) -> _Few:
    clips = _clips(max(24, 2 * subject.card.min_batch))
    if not any(p.requires_grad for p in subject.task(clips.layout).parameters()):
        raise Skipped("nothing is trained")
    return clips


def seeds_decide(subject: Subject) -> None:
    """The same seed gives the same weights after three steps, another seed gives others."""
    clips = _trained(subject)
    one, again, other = (weights(fit(subject, clips, 3, seed)[0]) for seed in (SEED, SEED, SEED + 1))
    require(same(one, again), "two runs with the same seed differ after three steps")
    require(not same(one, other), "another seed gives the same weights")


def resuming_changes_nothing(subject: Subject) -> None:
    """Two steps, a stop, two steps equal four steps bit for bit."""
    clips = _trained(subject)
    whole = weights(fit(subject, clips, 4)[0])
    with tempfile.TemporaryDirectory(prefix="ssl-skel-check-") as folder:
        with contextlib.suppress(Interrupted):
            pretrain(_job(subject, clips, 4, Path(folder), stop_after=2))
        resumed = weights(pretrain(_job(subject, clips, 4, Path(folder)))[0])
    different = [key for key in whole if not torch.equal(whole[key], resumed[key])]
    require(not different, f"after resuming, {', '.join(different[:5])} differ; state belongs in buffers or parameters")


def loss_falls(subject: Subject) -> None:
    """The loss of the last steps is below that of the first after a few of warm-up, at a constant learning rate."""
    clips = _trained(subject)
    _, losses = fit(subject, clips, FALL_STEPS, constant=True)
    first, last = sum(losses[WARM_STEPS:2 * WARM_STEPS]) / WARM_STEPS, sum(losses[-WARM_STEPS:]) / WARM_STEPS
    cfg = subject.resolved(clips.layout).train
    require(last < first, f"the loss went from {first:.4g} to {last:.4g} in {FALL_STEPS} steps of {cfg.optimizer} at "
            f"lr {cfg.lr:g}, batch {cfg.batch} (the card's `train`, and over it `train` of its `tiny`: set there what "
            "suits a configuration this small)")


def features_do_not_collapse(subject: Subject) -> None:
    """After some steps the features of different clips still differ, in more than one direction."""
    clips = _trained(subject)
    task, _ = fit(subject, clips, 10, constant=True)
    batch = clips.sample(torch.arange(len(clips)), 12, "centred", None)
    for name, encoder in task.encoders().items():
        with torch.no_grad():
            pooled = encoder.eval()(batch.xyz, batch.valid, batch.layout).pooled.double()
        values = torch.linalg.svdvals(pooled - pooled.mean(0))
        share = values / values.sum().clamp(min=1e-12)
        rank = math.exp(float(-(share * share.clamp(min=1e-12).log()).sum()))
        require(float(values[0]) > 1e-6, f"all features of encoder {name!r} are equal")
        require(rank > MIN_RANK, f"features of encoder {name!r} have effective rank {rank:.2f}")


def measure_pinned(subject: Subject) -> dict[str, float]:
    """Compute the values that ``expected.json`` pins: losses of the first steps, and the spread of the features.

    Args:
        subject: The plugin.

    Returns:
        ``loss_1``, ``loss_3`` (where anything is trained) and ``feature_norm``.
    """
    clips = _clips(max(24, 2 * subject.card.min_batch))
    pinned: dict[str, float] = {}
    task = subject.task(clips.layout)
    if any(p.requires_grad for p in task.parameters()):
        task, losses = fit(subject, clips, 3)
        pinned = {"loss_1": losses[0], "loss_3": losses[2]}
    batch = clips.sample(torch.arange(8), 12, "centred", None)
    with torch.no_grad():
        pooled = next(iter(task.encoders().values())).eval()(batch.xyz, batch.valid, batch.layout).pooled
    return {**pinned, "feature_norm": float(pooled.norm(dim=1).mean())}


def pinned_values_hold(subject: Subject) -> None:
    """The values in ``expected.json`` come out again."""
    folder = subject.entry.folder
    assert folder is not None  # a usable plugin has one
    path = folder / "expected.json"
    require(path.is_file(), f"{path} is missing; write it with `ssl-skel plugin check {subject.entry.name} --pin`")
    expected, found = json.loads(path.read_text(encoding="utf-8")), measure_pinned(subject)
    require(set(expected) == set(found), f"{path} pins {sorted(expected)}, measured are {sorted(found)}")
    for key, value in found.items():
        near = math.isclose(value, expected[key], rel_tol=PINNED_TOLERANCE[key], abs_tol=1e-6)
        require(near, f"{key} is {value:.6g}, {path.name} pins {expected[key]:.6g}: the numbers have changed; if that "
                "is meant, raise the card's version and pin anew")
