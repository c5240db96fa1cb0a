"""The contract of a backbone: what every plugin that is built on it relies on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import BaseModel
from safetensors.torch import load, save
from torch import Tensor

from ssl_skel.api import Backbone, Batch
from ssl_skel.contract.subject import SEED, Subject, Violation, clips, require, untouched_rng
from ssl_skel.data.layouts import LAYOUTS, Layout, get_layout
from ssl_skel.errors import SkelError
from ssl_skel.yamlio import validate

TOLERANCE = 1e-4
FRAMES = (1, 5, 12)


def backbone_is_one(subject: Subject) -> None:
    """Importing it draws nothing; class, version, Config and `tiny` are what they should be."""
    with untouched_rng("importing it"):
        cls = subject.entry.load()
    require(isinstance(cls, type) and issubclass(cls, Backbone), f"{subject.entry.target} is no Backbone")
    require(isinstance(cls.version, int) and cls.version >= 1, f"its version is {cls.version!r}, not 1 or more")
    require(isinstance(cls.Config, type) and issubclass(cls.Config, BaseModel), "its Config is no pydantic model")
    _config(subject)


def every_layout_and_length_works(subject: Subject) -> None:
    """Every layout, one to three persons, 1 to 12 frames: a finite (B, dim) vector a clip."""
    for layout, net in _usable(subject):
        for frames in FRAMES:
            batch = clips(layout, 3, frames)
            pooled = _encode(net.eval(), batch)
            where = f"{layout.name}, {layout.persons} persons, {frames} frames"
            require(pooled.shape == (3, net.dim), f"{where}: gives {tuple(pooled.shape)}, not {(3, net.dim)}")
            require(bool(torch.isfinite(pooled).all()), f"{where}: a feature is not finite")


def junk_at_invalid_points_is_ignored(subject: Subject) -> None:
    """What stands at an invalid point (huge, NaN) changes no feature and no gradient, in training and evaluation."""
    for layout, _ in _usable(subject, persons=(1, 2)):
        batch = clips(layout, 4)
        for training in (True, False):
            outs = []
            for junk in (0.0, 1e6, float("nan")):
                net = _build(subject, layout).train(training)
                xyz = batch.xyz.masked_fill(~batch.valid[..., None], junk)
                outs.append(net(xyz, batch.valid, layout).pooled)
                outs[-1].sum().backward()
                bad = [n for n, p in net.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
                require(not bad, f"{layout.name}: {junk} at invalid points makes the gradient of {bad[:3]} not finite")
            require(all(_close(outs[0], out) for out in outs), f"{layout.name}, {layout.persons} persons: features "
                    f"change with what stands at invalid points ({'training' if training else 'evaluation'} mode)")


def an_empty_clip_is_finite(subject: Subject) -> None:
    """A clip without a valid point gives finite features and does not disturb the others of its batch."""
    layout, net = _first(subject)
    batch = clips(layout, 4)
    valid = batch.valid.clone()
    valid[2] = False
    pooled = _encode(net.eval(), Batch(batch.xyz, valid, batch.index, layout))
    require(bool(torch.isfinite(pooled).all()), "a clip without a valid point gives features that are not finite")
    others = torch.tensor([0, 1, 3])
    alone = net(batch.xyz[others], valid[others], layout).pooled
    require(_close(pooled[others], alone), "a clip without a valid point changes the features of others")


def clips_are_independent(subject: Subject) -> None:
    """In evaluation mode a clip's features are the same alone and among others, and differ from theirs."""
    layout, net = _first(subject)
    batch = clips(layout, 5)
    together = _encode(net.eval(), batch)
    alone = torch.cat([net(batch.xyz[i:i + 1], batch.valid[i:i + 1], layout).pooled for i in range(5)])
    require(_close(together, alone), "features depend on the other clips of the batch")
    require(not _close(together[:1], together[1:2]), "different clips have the same features")


def every_parameter_learns(subject: Subject) -> None:
    """Every trainable parameter gets a gradient."""
    layout, net = _first(subject)
    pooled = _encode(net.train(), clips(layout, 4), grad=True)
    weight = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
    (pooled * weight).sum().backward()  # type: ignore[no-untyped-call]
    silent = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    require(not silent, f"no gradient reaches {', '.join(silent[:5])}")


def forward_draws_nothing(subject: Subject) -> None:
    """A training pass leaves the global random state alone (use `ssl_skel.nn.dropout.Dropout`)."""
    layout, net = _first(subject)
    with untouched_rng("a training pass"):
        _encode(net.train(), clips(layout, 4), grad=True)


def weights_come_back(subject: Subject) -> None:
    """Weights come back from safetensors with the same features."""
    layout, net = _first(subject)
    other, batch = _build(subject, layout, seed=1), clips(layout, 3)
    other.load_state_dict(load(save({key: value.contiguous().clone() for key, value in net.state_dict().items()})))
    same = torch.equal(_encode(net.eval(), batch), _encode(other.eval(), batch))
    require(same, "its weights do not survive safetensors")


CHECKS = (backbone_is_one, every_layout_and_length_works, junk_at_invalid_points_is_ignored, an_empty_clip_is_finite,
          clips_are_independent, every_parameter_learns, forward_draws_nothing, weights_come_back)


def _config(subject: Subject) -> Any:
    cls = subject.entry.load()
    return validate(cls.Config, {**subject.entry.config, **cls.tiny}, f"backbone {subject.entry.name}: tiny")


def _build(subject: Subject, layout: Layout, seed: int = SEED) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net: Backbone = subject.entry.load()(_config(subject), layout)
    return net


def _usable(subject: Subject, persons: tuple[int, ...] = (1, 2, 3)) -> Iterator[tuple[Layout, Backbone]]:
    """A network for every layout and number of persons that the backbone does not refuse."""
    cls, refused = subject.entry.load(), []
    layouts = [get_layout(name, count) for name in LAYOUTS for count in persons]
    for layout in layouts:
        try:
            cls.check(_config(subject), layout, max(FRAMES))
        except SkelError:
            refused.append(layout)  # refused when planned, with a reason: that is allowed
            continue
        yield layout, _build(subject, layout)
    if len(refused) == len(layouts):
        raise Violation("the backbone refuses every layout and number of persons")


def _first(subject: Subject) -> tuple[Layout, Backbone]:
    return next(_usable(subject))


def _encode(net: Backbone, batch: Batch, grad: bool = False) -> Tensor:
    with torch.set_grad_enabled(grad):
        return net(batch.xyz, batch.valid, batch.layout).pooled  # type: ignore[no-any-return]


def _close(one: Tensor, other: Tensor) -> bool:
    scale = float(one.detach().abs().max().clamp(min=1e-6))
    return bool(torch.allclose(one / scale, other / scale, atol=TOLERANCE, rtol=0))
