"""Checks of level ``card`` and ``api``: what can be seen without training."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import torch
from safetensors.torch import load, save

from ssl_skel.api import Backbone, Batch, PretextTask
from ssl_skel.contract.subject import (
    Skipped,
    Subject,
    clips,
    loss_of,
    poisoned,
    require,
    untouched_rng,
)

TOLERANCE = 1e-4


def card_is_valid(subject: Subject) -> None:
    """The card validates, names its folder, and stands beside a README."""
    require(not subject.entry.error, subject.entry.error)
    folder = subject.entry.folder
    assert folder is not None  # a plugin without an error has one
    readme = folder / "README.md"
    require(readme.is_file() and len(readme.read_text(encoding="utf-8")) > 100, f"{readme} is missing or empty")


def import_is_harmless(subject: Subject) -> None:
    """Importing changes no global state: random states, default type, number of threads, gradient mode."""
    def state() -> tuple[object, ...]:
        return (random.getstate(), str(np.random.get_state()), torch.get_default_dtype(),  # noqa: NPY002
                torch.get_num_threads(), torch.is_grad_enabled())

    before = state()
    with untouched_rng("importing it"):
        task = subject.entry.load()
    require(state() == before, "importing it changed a random state, the default type, threads or gradient mode")
    require(isinstance(task, type) and issubclass(task, PretextTask), f"{subject.entry.target} is no PretextTask")


def batch_has_no_labels(subject: Subject) -> None:
    """What a task is handed holds positions, validity, index and layout, and nothing else."""
    names = {field.name for field in dataclasses.fields(Batch)}
    require(names == {"xyz", "valid", "index", "layout"}, f"the batch has fields {sorted(names)}")


def every_layout_works(subject: Subject) -> None:
    """Every layout, one to three persons: a finite scalar loss, and features of the promised shape."""
    for layout, task in subject.usable():
        where = f"{layout.name}, {layout.persons} persons"
        out = loss_of(task.train(), clips(layout, max(2, subject.card.min_batch)))
        require("loss" in out and out["loss"].ndim == 0, f"{where}: forward gives no scalar 'loss'")
        require(all(bool(torch.isfinite(v).all()) for v in out.values()), f"{where}: a value is not finite")
        _check_features(task, clips(layout, 2), where)
    subject.first()


def every_size_works(subject: Subject) -> None:
    """Batches of 1, 2 and 7 clips, of 2, 12 and 65 frames."""
    layout, task = subject.first()
    for count in (n for n in (1, 2, 7) if n >= subject.card.min_batch):
        for frames in (12, 65):
            out = loss_of(task.train(), clips(layout, count, frames))
            require(bool(torch.isfinite(out["loss"])), f"{count} clips of {frames} frames: the loss is {out['loss']}")
    for count, frames in ((1, 2), (2, 12), (7, 65)):
        _check_features(task, clips(layout, count, frames), f"{count} clips of {frames} frames")


def _check_features(task: PretextTask, batch: Batch, where: str) -> None:
    for name, encoder in task.encoders().items():
        with torch.no_grad():
            pooled = encoder.eval()(batch.xyz, batch.valid, batch.layout).pooled
        require(pooled.shape == (len(batch), encoder.dim),
                f"{where}: encoder {name!r} gives {tuple(pooled.shape)}, not {(len(batch), encoder.dim)}")
        require(bool(torch.isfinite(pooled).all()), f"{where}: features of encoder {name!r} are not finite")


def streams_are_named(subject: Subject) -> None:
    """`stream_sets` names the encoders that there are."""
    layout, task = subject.first()
    named = {name for one in task.stream_sets(subject.resolved(layout).config) for name in one}
    require(named == set(task.encoders()), f"stream_sets names {sorted(named)}, encoders() {sorted(task.encoders())}")
    wrong = [name for name, encoder in task.encoders().items() if not isinstance(encoder, Backbone)]
    require(not wrong, f"encoders {wrong} are no Backbone")


def gradients_reach_all(subject: Subject) -> None:
    """Every trainable parameter gets a gradient."""
    layout, task = subject.first()
    if not any(p.requires_grad for p in task.parameters()):
        raise Skipped("nothing is trained")
    batch = clips(layout, max(4, subject.card.min_batch))
    for seed in range(3):  # a drawn mask may leave a parameter out once
        loss_of(task.train(), batch, seed)["loss"].backward()  # type: ignore[no-untyped-call]
    missing = [name for name, p in task.named_parameters() if p.requires_grad and p.grad is None]
    require(not missing, f"no gradient reaches {', '.join(missing[:5])}")
    bad = [name for name, p in task.named_parameters() if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    require(not bad, f"the gradient of {', '.join(bad[:5])} is not finite")


def rng_is_left_alone(subject: Subject) -> None:
    """Views draw from the generator that is passed in, never from the global state."""
    layout, task = subject.first()
    batch = clips(layout, max(2, subject.card.min_batch))
    with untouched_rng("views()"):
        first = task.views(batch, torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    again = task.views(batch, torch.Generator().manual_seed(1))
    for one, other in zip(_tensors(first), _tensors(again), strict=True):
        require(bool(torch.equal(one, other)), "views() of one generator state differ from call to call")


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [t for field in dataclasses.fields(value) for t in _tensors(getattr(value, field.name))]
    if isinstance(value, dict):
        return [t for item in value.values() for t in _tensors(item)]
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


def invalid_points_are_ignored(subject: Subject) -> None:
    """What stands at an invalid point changes neither the loss nor a feature."""
    for layout, task in subject.usable():
        batch = clips(layout, max(4, subject.card.min_batch))
        state = {key: value.clone() for key, value in task.state_dict().items()}
        clean = loss_of(task.train(), batch)["loss"]
        task.load_state_dict(state)  # batch statistics and queues moved
        dirty = loss_of(task.train(), poisoned(batch))["loss"]
        require(_close(clean, dirty), f"{layout.name}, {layout.persons} persons: the loss changes with what stands at "
                f"invalid points ({clean:.6g} against {dirty:.6g})")
        for name, encoder in task.encoders().items():
            with torch.no_grad():
                one, other = (encoder.eval()(b.xyz, b.valid, layout).pooled for b in (batch, poisoned(batch)))
            require(_close(one, other), f"{layout.name}: features of encoder {name!r} change with invalid points")


def batch_mates_do_not_matter(subject: Subject) -> None:
    """In evaluation mode a clip's features are the same alone and among others."""
    layout, task = subject.first()
    batch = clips(layout, 5)
    for name, encoder in task.encoders().items():
        with torch.no_grad():
            together = encoder.eval()(batch.xyz, batch.valid, layout).pooled
            alone = torch.cat([encoder(batch.xyz[i:i + 1], batch.valid[i:i + 1], layout).pooled for i in range(5)])
        require(_close(together, alone), f"features of encoder {name!r} depend on the other clips of the batch")


def weights_round_trip(subject: Subject) -> None:
    """Encoders come back from safetensors with the same features."""
    layout, task = subject.first()
    other, batch = subject.task(layout, seed=1), clips(layout, 3)
    for name, encoder in task.encoders().items():
        weights = {key: value.contiguous().clone() for key, value in encoder.state_dict().items()}
        copy = other.encoders()[name]
        copy.load_state_dict(load(save(weights)))
        with torch.no_grad():
            one, again = (e.eval()(batch.xyz, batch.valid, layout).pooled for e in (encoder, copy))
        require(bool(torch.equal(one, again)), f"encoder {name!r} does not survive safetensors")


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = float(one.detach().abs().max().clamp(min=1e-6))
    return bool(torch.allclose(one / scale, other / scale, atol=TOLERANCE, rtol=0))
