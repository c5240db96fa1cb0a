"""The reference method: against a textbook implementation, and what its parts may and may not see."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from helpers import textbook
from helpers.plugin_modules import plugin_module
from ssl_skel.api import Backbone, Batch, Features, Layout
from ssl_skel.data.layouts import KINECT_V1_20, NITE_15
from ssl_skel.errors import SkelError
from ssl_skel.nn.dgcnn import DGCNN, DGCNNConfig

plugin = plugin_module("colorization", "plugin")
alignment = plugin_module("colorization", "alignment")
streams = plugin_module("colorization", "streams")
Colorization, Config = plugin.Colorization, plugin.ColorizationConfig

LAYOUT = NITE_15.with_persons(2)
SMALL: dict[str, Any] = {"grid_side": 4, "decoder_hidden": 8}


def clips(count: int = 4, layout: Layout = LAYOUT, frames: int = 4, lost: float = 0.0, seed: int = 0,
          dtype: torch.dtype = torch.float32) -> Batch:
    """Random walks of all joints, from one place each, with a share of points lost."""
    gen = torch.Generator().manual_seed(seed)
    shape = (count, layout.persons, frames, layout.num_joints, 3)
    xyz = torch.randn(count, layout.persons, 1, *shape[3:], generator=gen, dtype=dtype)
    xyz = xyz + 0.2 * torch.randn(shape, generator=gen, dtype=dtype).cumsum(2)
    valid = torch.rand(shape[:4], generator=gen) >= lost
    return Batch(xyz * valid[..., None], valid, torch.arange(count), layout)


def task_of(layout: Layout = LAYOUT, seed: int = 0, **keys: Any) -> Any:
    """A small task with a small DGCNN."""
    sizes = DGCNNConfig(k=4, widths=(6, 8), dim=12)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Colorization(Config(**{**SMALL, **keys}), lambda: DGCNN(sizes, layout), layout)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step(task: Any, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
    return task(task.views(batch, generator(seed)))  # type: ignore[no-any-return]


# The whole task as a textbook writes it.


def nearest(x: Tensor, valid: Tensor, k: int) -> Tensor:
    """k nearest valid points; slots beyond their number hold the point itself."""
    distance = torch.cdist(x.detach(), x.detach()).masked_fill(~valid[:, None], torch.inf)
    value, index = distance.topk(min(k, x.shape[1]), largest=False)
    own = torch.arange(x.shape[1])[:, None].expand_as(index)
    return torch.where((value < torch.inf) & valid[..., None], index, own)


def textbook_encode(net: DGCNN, xyz: Tensor, valid: Tensor) -> Tensor:
    x, valid, outputs = xyz.flatten(1, 3), valid.flatten(1), []
    for conv in net.convs:
        x = textbook.edge_conv(conv, conv.norm, x, nearest(x, valid, net.cfg.k), valid)
        outputs.append(x)
    return textbook.point_head(net.head, net.head.norm, torch.cat(outputs, 2), valid)


def wheel(u: float) -> list[float]:
    return [1 - 2 * u, 2 * u, 0.0] if u <= 0.5 else [0.0, 2 - 2 * u, 2 * u - 1]


def textbook_rgb(name: str, shape: tuple[int, ...], layout: Layout, segments: int, parts: int) -> Tensor:
    """Colours point by point, from the papers' formulas."""
    persons, frames, joints = shape
    rgb = torch.zeros(persons, frames, joints, 3, dtype=torch.float64)
    table = layout.parts if parts == 5 else layout.parts10
    for m in range(persons):
        for t in range(frames):
            for j in range(joints):
                part = next(p for p, members in enumerate(table) if j in members)
                segment = next(s for s in range(1, segments + 1) if (t + 1) * segments <= s * frames)
                u = {"temporal": (t + 1) / frames, "spatial": (j + 1) / joints, "person": m / max(persons - 1, 1),
                     "temporal-coarse": segment / segments, "spatial-coarse": (part + 1) / parts}[name]
                rgb[m, t, j] = torch.tensor(wheel(u), dtype=torch.float64)
    return rgb


def textbook_align(cfg: Any, head: Any, fine: Tensor, coarse: Tensor, keep: Tensor) -> Tensor:
    fine, coarse = fine[keep], coarse[keep]
    if cfg.align == "mse":
        return ((fine - coarse) ** 2).mean()
    if cfg.align == "cosine":
        return (1 - (fine * coarse).sum(1) / fine.norm(dim=1) / coarse.norm(dim=1)).mean()
    q, z = head.projectors[0](fine), head.projectors[1](coarse)
    cosine = (q @ z.T) / q.norm(dim=1)[:, None] / z.norm(dim=1)[None] / cfg.temperature
    own = torch.arange(len(q))
    return (torch.nn.functional.cross_entropy(cosine, own) + torch.nn.functional.cross_entropy(cosine.T, own)) / 2


def textbook_loss(task: Any, xyz: Tensor, seen: Tensor, valid: Tensor) -> Tensor:
    cfg, keep = task.cfg, valid.flatten(1).any(1)
    codes = {name: textbook_encode(net, xyz, seen) for name, net in task.encoder.items()}
    total = xyz.new_zeros(())
    for stream in task.streams:
        rgb = textbook_rgb(stream.name, xyz.shape[1:4], LAYOUT, cfg.segments, cfg.parts)
        target = torch.cat([xyz, rgb.expand_as(xyz)], -1).flatten(1, 3)
        shared = cfg.granularity == "both" and cfg.encoders == "shared"
        painted = textbook.folding(task.decoder[stream.name], codes[stream.colour if shared else stream.name])
        total = total + textbook.chamfer(painted[keep], target[keep], valid.flatten(1)[keep], cfg.chamfer, cfg.squared,
                                         cfg.rgb_weight)
    for colour in task.alignment:
        pair = codes[colour], codes[f"{colour}-coarse"]
        total = total + cfg.align_weight * textbook_align(cfg, task.alignment[colour], *pair, keep)
    return total


@pytest.mark.parametrize("keys", [
    {"granularity": "both", "mask": "random", "align": "mse", "segments": 2},
    {"granularity": "both", "mask": "part", "parts": 10, "align": "infonce", "align_weight": 0.5, "chamfer": "sum",
     "squared": True, "rgb_weight": 0.3},
    {"granularity": "both", "mask": "segment", "align": "cosine", "streams": ("person", "temporal"),
     "fold1_channels": 3, "squared": True, "segments": 4},
    {"granularity": "both", "encoders": "shared", "mask": "joint", "chamfer": "sum"},
    {"granularity": "coarse", "mask": "frame", "segments": 4},
], ids=["mse", "infonce", "cosine", "shared", "coarse"])
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_textbook(keys: dict[str, Any], training: bool) -> None:
    ours = task_of(absent="drop", **keys).double().train(training)
    theirs = copy.deepcopy(ours)
    batch = clips(4, lost=0.3, dtype=torch.float64)
    valid = batch.valid.clone()
    valid[1] = False
    valid[2, 1] = False
    batch = Batch(batch.xyz * valid[..., None], valid, batch.index, LAYOUT)
    views = ours.views(batch, generator())
    out = ours(views)
    out["loss"].backward()
    expected = textbook_loss(theirs, batch.xyz, views.visible, valid)
    expected.backward()
    assert out["loss"].item() == pytest.approx(expected.item(), abs=1e-10)
    assert out["empty_clips"].item() == 1
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-9), name
    for (name, mine), other in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        assert torch.allclose(mine.double(), other.double(), atol=1e-10), name


# What is seen and what is repainted.


class Recorder(Backbone):
    """Keeps what it is given; its code is the mean of the valid points."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.dim, self.seen = 3, []
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        self.seen.append((xyz, valid))
        weight = valid[..., None].to(xyz.dtype)
        return Features(self.scale * (xyz * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1))


@pytest.mark.parametrize("mask", ["none", "random", "frame", "segment", "joint", "part"])
def test_encoder_sees_bare_visible_points_and_target_is_whole(mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = []
    real = plugin.chamfer

    def spy(source: Tensor, target: Tensor, valid: Tensor, **keys: Any) -> Tensor:
        targets.append((target, valid))
        return real(source, target, valid, **keys)  # type: ignore[no-any-return]

    monkeypatch.setattr(plugin, "chamfer", spy)
    cfg = Config(**SMALL, granularity="both", streams=("temporal", "spatial", "person"), mask=mask, mask_ratio=0.5)
    task = Colorization(cfg, Recorder, LAYOUT)
    batch = clips(6, lost=0.2)
    views = task.views(batch, generator())
    task(views)
    assert len(task.encoder) == len(targets) == 5
    for net in task.encoder.values():
        (xyz, valid), = net.seen
        assert torch.equal(xyz, batch.xyz)
        assert torch.equal(valid, views.visible)
        assert torch.equal(valid, batch.valid) == (mask == "none")
    for stream, (target, valid) in zip(task.streams, targets, strict=True):
        assert torch.equal(valid, batch.valid.flatten(1))
        assert torch.equal(target[..., :3], batch.xyz.flatten(1, 3))
        rgb = streams.stream_colours(stream, cfg, batch.xyz.shape[1:4], task.members)
        assert torch.equal(target[..., 3:], rgb.flatten(0, 2).float().expand(6, -1, -1))


def test_junk_at_invalid_points_changes_nothing() -> None:
    batch = clips(lost=0.4)
    junk = Batch(torch.where(batch.valid[..., None], batch.xyz, 1e4), batch.valid, batch.index, LAYOUT)
    for absent in ("drop", "zero"):
        outs = [step(task_of(absent=absent, mask="random", granularity="both"), b) for b in (batch, junk)]
        assert all(torch.equal(outs[0][key], outs[1][key]) for key in outs[0])


def test_order_of_clips_and_persons_changes_nothing_but_the_person_stream() -> None:
    task = task_of(streams=("temporal", "spatial", "person")).double()
    batch = clips(dtype=torch.float64)
    swapped = Batch(batch.xyz.flip(0, 1), batch.valid.flip(0, 1), batch.index, LAYOUT)
    first, second = step(task, batch), step(task, swapped)
    for name in ("temporal", "spatial"):
        assert first[name].item() == pytest.approx(second[name].item(), abs=1e-10)
    assert first["person"].item() != pytest.approx(second["person"].item(), abs=1e-6)


def test_views_draw_from_the_given_generator_only() -> None:
    task, batch = task_of(mask="random"), clips()
    before = torch.get_rng_state()
    views = [task.views(batch, generator(seed)).visible for seed in (3, 3, 4)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


# Persons who are absent, clips that are empty.


def three_persons() -> Batch:
    layout = NITE_15.with_persons(3)
    batch = clips(3, layout)
    valid = batch.valid.clone()
    valid[0, 1:] = False
    valid[1, 0] = False
    valid[1, 1, 0, :5] = False
    return Batch(torch.where(valid[..., None], batch.xyz, 7.0), valid, batch.index, layout)


def test_absent_persons_are_dropped_or_stand_at_the_origin() -> None:
    batch = three_persons()
    dropped = task_of(batch.layout, absent="drop", streams=("person",)).views(batch, generator())
    assert dropped.valid is batch.valid
    filled = task_of(batch.layout, absent="zero", streams=("person",)).views(batch, generator())
    expected = batch.valid.clone()
    expected[0, 1:] = True
    expected[1, 0] = True
    assert torch.equal(filled.valid, expected)
    assert (filled.xyz[0, 1:] == 0).all()
    assert torch.equal(filled.xyz[2], batch.xyz[2])


@pytest.mark.parametrize("absent", ["drop", "zero"])
def test_three_persons_train_and_encode_alike(absent: str) -> None:
    batch = three_persons()
    task = task_of(batch.layout, absent=absent, streams=("person", "temporal"))
    out = step(task, batch)
    out["loss"].backward()
    assert out["loss"].isfinite()
    task.eval()
    views = task.views(batch, generator())
    outer = task.encoders()["person"](batch.xyz, batch.valid, batch.layout).pooled
    inner = task.encoder["person"](views.xyz, views.valid, batch.layout).pooled
    assert torch.equal(outer, inner)


def test_empty_clip_is_skipped_and_counted() -> None:
    task = task_of(granularity="both", align="infonce", mask="random").double()
    batch = clips(dtype=torch.float64)
    valid = batch.valid.clone()
    valid[2] = False
    views = task.views(Batch(batch.xyz, valid, batch.index, LAYOUT), generator())
    keep = torch.tensor([0, 1, 3])
    rest = plugin.Repainting(views.xyz[keep], views.visible[keep], views.valid[keep], LAYOUT)
    with_empty, without = task(views), task(rest)
    assert with_empty["empty_clips"].item() == 1
    assert without["empty_clips"].item() == 0
    assert with_empty["loss"].item() == pytest.approx(without["loss"].item(), abs=1e-10)


@pytest.mark.parametrize("align", ["mse", "cosine", "infonce"])
def test_batch_of_empty_clips_gives_zero_and_finite_gradients(align: str) -> None:
    task = task_of(granularity="both", align=align)
    batch = clips()
    out = step(task, Batch(batch.xyz, torch.zeros_like(batch.valid), batch.index, LAYOUT))
    out["loss"].backward()
    assert out["loss"].item() == 0
    assert out["empty_clips"].item() == 4
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


# Alignment, streams, configuration.


def test_alignment_losses_of_equal_and_opposite_codes() -> None:
    code, present = torch.randn(6, 5, generator=generator()), torch.ones(6, dtype=torch.bool)
    for form in ("mse", "cosine"):
        loss = alignment.Alignment(form, 5, 4, 0.1)
        assert loss(code, code, present).item() == pytest.approx(0, abs=1e-6)
    assert alignment.Alignment("cosine", 5, 4, 0.1)(code, -code, present).item() == pytest.approx(2, abs=1e-5)
    assert alignment.Alignment("mse", 5, 4, 0.1)(code, code + 3, present).item() == pytest.approx(9, rel=1e-5)
    own = alignment.symmetric_info_nce(code, code, present, 0.1)
    assert own < alignment.symmetric_info_nce(code, code.roll(1, 0), present, 0.1)


def test_total_is_the_weighted_sum_of_what_is_logged() -> None:
    out = step(task_of(granularity="both", align_weight=0.25, mask="random"), clips())
    terms = {name: value.item() for name, value in out.items() if name not in ("loss", "empty_clips")}
    assert set(terms) == {"temporal", "temporal-coarse", "spatial", "spatial-coarse", "align-temporal",
                          "align-spatial"}
    total = sum(value * (0.25 if name.startswith("align") else 1) for name, value in terms.items())
    assert out["loss"].item() == pytest.approx(total, rel=1e-5)


def test_weight_zero_and_shared_encoders_have_no_alignment() -> None:
    for keys in ({"align_weight": 0.0}, {"encoders": "shared"}):
        task = task_of(granularity="both", **keys)
        assert len(task.alignment) == 0
        assert not any(name.startswith("align") for name in step(task, clips()))
    assert set(task.encoders()) == {"temporal", "spatial"}
    assert set(task.decoder) == {"temporal", "temporal-coarse", "spatial", "spatial-coarse"}


@pytest.mark.parametrize("granularity", ["fine", "coarse", "both"])
@pytest.mark.parametrize("encoders", ["separate", "shared"])
@pytest.mark.parametrize("names", [("temporal",), ("spatial", "temporal"), ("temporal", "spatial", "person")])
def test_stream_sets_cover_the_encoders(granularity: str, encoders: str, names: tuple[str, ...]) -> None:
    keys = {"granularity": granularity, "encoders": encoders, "streams": names}
    task = task_of(**keys)
    sets = Colorization.stream_sets(Config(**keys))
    assert {name for group in sets for name in group} == set(task.encoders())
    assert len(set(sets)) == len(sets)
    assert set(sets[-1]) == set(task.encoders()) or (len(names) == 1 and granularity != "both")


def test_stream_sets_of_both_granularities() -> None:
    assert Colorization.stream_sets(Config(granularity="both")) == (
        ("temporal",), ("temporal-coarse",), ("spatial",), ("spatial-coarse",), ("temporal", "temporal-coarse"),
        ("spatial", "spatial-coarse"), ("temporal", "temporal-coarse", "spatial", "spatial-coarse"))


def test_loss_falls_on_a_toy_batch() -> None:
    task, batch = task_of(granularity="both", mask="random", mask_ratio=0.2), clips(4)
    optimizer = torch.optim.Adam(task.parameters(), 1e-2)
    losses = []
    for number in range(60):
        loss = step(task, batch, number)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_person_stream_needs_two_persons() -> None:
    with pytest.raises(SkelError, match="one person"):
        Colorization.check(Config(streams=("person",)), KINECT_V1_20)
    with pytest.raises(SkelError, match="one person"):
        task_of(KINECT_V1_20, streams=("temporal", "person"))


@pytest.mark.parametrize(("mask", "ratio"), [("part", 0.9), ("joint", 0.98)])
def test_mask_that_leaves_nothing_is_refused(mask: str, ratio: float) -> None:
    with pytest.raises(SkelError, match="leaves none"):
        Colorization.check(Config(mask=mask, mask_ratio=ratio), KINECT_V1_20)
    Colorization.check(Config(mask="random", mask_ratio=ratio), KINECT_V1_20)


@pytest.mark.parametrize("keys", [
    {"segments": 0}, {"mask_ratio": 1.0}, {"mask_ratio": -0.1}, {"streams": ()}, {"streams": ("temporal", "temporal")},
    {"parts": 7}, {"mask": "half"}, {"align_weight": -1}, {"colour": "red"},
])
def test_bad_keys_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**keys)
