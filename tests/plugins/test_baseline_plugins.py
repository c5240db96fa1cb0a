"""Every baseline plugin: any layout and persons, gradients everywhere, the loss falls, the global state stays."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.skeletons import random_batch, with_junk
from ssl_skel.api import Backbone, Batch, PretextTask
from ssl_skel.data.layouts import LAYOUTS, Layout, get_layout
from ssl_skel.nn.agcn import AGCN
from ssl_skel.nn.bigru import BiGRU
from ssl_skel.nn.pointmlp import PointMLP
from ssl_skel.nn.stgcn import STGCN
from ssl_skel.nn.transformer import SkeletonTransformer
from ssl_skel.registry import plugin_entry
from ssl_skel.schema import PluginCard

ROOT = Path(__file__).parents[2] / "plugins"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/plugin.yaml") if path.parent.name != "colorization")
TRAINED = [name for name in NAMES if name != "random"]
BACKBONES: dict[str, type[Backbone]] = {
    "stgcn": STGCN, "agcn": AGCN, "bigru": BiGRU, "transformer": SkeletonTransformer, "pointmlp": PointMLP}
SMALL: dict[str, dict[str, Any]] = {
    "stgcn": {"width": 4, "dim": 16}, "agcn": {"width": 4, "dim": 16}, "bigru": {"hidden": 8, "layers": 2},
    "transformer": {"dim": 16, "depth": 2, "heads": 2}, "pointmlp": {"width": 8, "dim": 16}}


@lru_cache
def loaded(name: str) -> tuple[PluginCard, type[PretextTask]]:
    entry = plugin_entry(ROOT / name, "test")
    assert not entry.error, entry.error
    assert entry.card is not None
    cls: type[PretextTask] = entry.load()
    return entry.card, cls


def make(name: str, layout: Layout, seed: int = 0, backbone: str = "", **config: Any) -> PretextTask:
    card, cls = loaded(name)
    net = backbone or card.backbones.default
    keys = {**card.backbone_config, **card.tiny.backbone} if not backbone else SMALL[net]

    def factory() -> Backbone:
        return BACKBONES[net](BACKBONES[net].Config(**keys), layout)

    torch.manual_seed(seed)
    return cls(cls.Config(**{**card.config, **card.tiny.config, **config}), factory, layout).train()


def step(task: PretextTask, batch: Batch, seed: int) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        views = task.views(batch, torch.Generator().manual_seed(seed))
    return task(views)


def test_the_roster_is_complete() -> None:
    assert {"simclr", "moco", "aimclr", "crossclr", "isc", "byol", "simsiam", "cmd", "dino", "barlow-twins", "vicreg",
            "mae", "mamp", "reconstruct", "order", "random"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_card_has_what_a_reader_needs(name: str) -> None:
    card, _ = loaded(name)
    assert card.backbones.default in BACKBONES
    assert card.distributed
    assert (ROOT / name / "README.md").read_text().startswith(f"# {name}")
    assert len((ROOT / name / "plugin.py").read_text().splitlines()) <= 160
    assert card.paper or name in ("random",)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(("layout_name", "persons"), zip(LAYOUTS, (1, 2, 3)))
def test_step_on_every_layout(name: str, layout_name: str, persons: int) -> None:
    layout = get_layout(layout_name, persons)
    task = make(name, layout)
    batch = random_batch(layout, clips=6, frames=12)
    state = torch.get_rng_state()
    for number in range(2):
        task.zero_grad()
        out = step(task, batch, number)
        assert out["loss"].ndim == 0
        assert all(torch.isfinite(value) for value in out.values())
        out["loss"].backward()
        task.after_step(number + 1, 2)
    silent = [key for key, p in task.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not silent
    assert torch.equal(torch.get_rng_state(), state)
    assert {key for keys in task.stream_sets(task.cfg) for key in keys} == set(task.encoders())
    for encoder in task.encoders().values():
        pooled = encoder.eval()(batch.xyz, batch.valid, layout).pooled
        assert pooled.shape == (6, encoder.dim)
        assert torch.isfinite(pooled).all()


@pytest.mark.parametrize("name", TRAINED)
def test_content_at_invalid_points_changes_no_loss(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch = random_batch(layout, clips=6)
    losses = []
    for junk in (0.0, 1e4):
        dirty = Batch(with_junk(batch, junk), batch.valid, batch.index, layout)
        losses.append(step(make(name, layout), dirty, 0)["loss"])
    assert torch.equal(losses[0], losses[1])


@pytest.mark.parametrize("name", TRAINED)
def test_loss_falls_on_a_toy_batch(name: str) -> None:
    layout = get_layout("nite_15", 1)
    # what is learned must stand still for 30 steps: no second phase, no teacher that moves
    still: dict[str, dict[str, float]] = {"crossclr": {"cross_from": 1.0}, "aimclr": {"mine_from": 1.0},
                                          "dino": {"momentum": 1.0, "centre_momentum": 0.999}}
    task = make(name, layout, **still.get(name, {}))
    batch = random_batch(layout, clips=16, frames=12, whole=True)
    optimizer = torch.optim.Adam([p for p in task.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for number in range(30):
        optimizer.zero_grad()
        loss = step(task, batch, number % 3)["loss"]
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            task.after_step(number + 1, 30)
        losses.append(loss.item())
    if "queue" not in task.cfg.model_dump():  # a queue that fills makes the question harder meanwhile
        assert sum(losses[-5:]) < sum(losses[:5])
    assert sum(losses[-3:]) < sum(losses[-18:-15])


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_step(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch = random_batch(layout, clips=6)
    first, same, other = (step(make(name, layout), batch, seed)["loss"] for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (name == "reconstruct")  # the only one that draws nothing


@pytest.mark.parametrize("name", [n for n in TRAINED if "*" in loaded(n)[0].backbones.supported])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_supported_backbone(name: str, backbone: str) -> None:
    layout = get_layout("nite_15", 2)
    task = make(name, layout, backbone=backbone)
    out = step(task, random_batch(layout, clips=6), 0)
    out["loss"].backward()
    assert torch.isfinite(out["loss"])


def test_random_trains_nothing() -> None:
    layout = get_layout("nite_15", 2)
    task = make("random", layout)
    assert not any(p.requires_grad for p in task.parameters())
    out = step(task, random_batch(layout), 0)["loss"]
    assert out == 0
    assert not out.requires_grad
    assert set(task.encoders()) == {"encoder"}


@pytest.mark.parametrize("name", ["simclr", "moco", "byol", "barlow-twins"])
def test_modalities_have_encoders_of_their_own(name: str) -> None:
    layout = get_layout("nite_15", 1)
    task = make(name, layout, streams=("joint", "bone", "motion"))
    batch = random_batch(layout, clips=6)
    out = step(task, batch, 0)
    assert {"joint/loss", "bone/loss", "motion/loss"} <= set(out)
    assert torch.allclose(out["loss"], out["joint/loss"] + out["bone/loss"] + out["motion/loss"])
    encoders = task.encoders()
    assert list(encoders) == ["joint", "bone", "motion"]
    shifted = batch.xyz + torch.tensor([5.0, 0, 0])
    for stream, moves in (("joint", True), ("bone", False), ("motion", False)):
        net = encoders[stream].eval()
        a, b = (net(x, batch.valid, layout).pooled for x in (batch.xyz, shifted))
        assert torch.allclose(a, b, atol=1e-3, rtol=1e-2) != moves
