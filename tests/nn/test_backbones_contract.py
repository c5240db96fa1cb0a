"""What every backbone promises: `valid` honoured, independent clips, gradients everywhere, any layout and M."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.skeletons import random_batch, with_junk
from ssl_skel.api import Backbone
from ssl_skel.data.layouts import LAYOUTS, get_layout
from ssl_skel.nn.agcn import AGCN
from ssl_skel.nn.bigru import BiGRU
from ssl_skel.nn.pointmlp import PointMLP
from ssl_skel.nn.stgcn import STGCN
from ssl_skel.nn.transformer import SkeletonTransformer

SMALL: dict[str, tuple[type[Backbone], dict[str, Any]]] = {
    "stgcn": (STGCN, {"width": 4, "dim": 16}),
    "agcn": (AGCN, {"width": 4, "dim": 16}),
    "bigru": (BiGRU, {"hidden": 8, "layers": 2}),
    "transformer": (SkeletonTransformer, {"dim": 16, "depth": 2, "heads": 2}),
    "pointmlp": (PointMLP, {"width": 8, "depth": 2, "dim": 16}),
}


def build(name: str, layout_name: str = "nite_15", persons: int = 2, seed: int = 0) -> Backbone:
    cls, keys = SMALL[name]
    torch.manual_seed(seed)
    return cls(cls.Config(**keys), get_layout(layout_name, persons))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout_name", LAYOUTS)
@pytest.mark.parametrize("persons", [1, 2, 3])
def test_shapes_for_any_layout_persons_and_length(name: str, layout_name: str, persons: int) -> None:
    layout = get_layout(layout_name, persons)
    net = build(name, layout_name, persons).eval()
    for frames in (1, 5, 12):
        batch = random_batch(layout, clips=3, frames=frames)
        out = net(batch.xyz, batch.valid, layout)
        assert out.pooled.shape == (3, net.dim)
        assert torch.isfinite(out.pooled).all()
        if out.tokens is not None:
            assert out.tokens.shape[0] == 3


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("persons", [1, 2])
def test_content_at_invalid_points_changes_nothing(name: str, train: bool, persons: int) -> None:
    layout = get_layout("nite_15", persons)
    batch = random_batch(layout)
    outs = []
    for junk in (0.0, 1e6, float("nan"), float("-inf")):
        net = build(name, persons=persons).train(train)
        outs.append(net(with_junk(batch, junk), batch.valid, layout).pooled)
        outs[-1].sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert all(torch.equal(outs[0], out) for out in outs[1:])


@pytest.mark.parametrize("name", SMALL)
def test_clips_are_independent_in_evaluation(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch, net = random_batch(layout, clips=5), build(name).eval()
    together = net(batch.xyz, batch.valid, layout).pooled
    alone = torch.cat([net(batch.xyz[i:i + 1], batch.valid[i:i + 1], layout).pooled for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_an_absent_person_more_changes_nothing(name: str) -> None:
    one, three = get_layout("nite_15", 1), get_layout("nite_15", 3)
    batch = random_batch(one, whole=True)
    xyz = torch.randn(4, 3, *batch.xyz.shape[2:])
    valid = torch.zeros(xyz.shape[:-1], dtype=torch.bool)
    xyz[:, :1], valid[:, :1] = batch.xyz, True
    for train in (False, True):
        a = build(name, persons=1).train(train)(batch.xyz, batch.valid, one).pooled
        b = build(name, persons=3).train(train)(xyz, valid, three).pooled
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_a_clip_without_a_valid_point_is_finite_and_disturbs_no_other(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch = random_batch(layout)
    valid = batch.valid.clone()
    valid[2] = False
    for train in (True, False):
        net = build(name).train(train)
        out = net(batch.xyz, valid, layout).pooled
        assert torch.isfinite(out).all()
        out.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
        others = [0, 1, 3]
        less = build(name).train(train)(batch.xyz[others], valid[others], layout).pooled
        torch.testing.assert_close(out[others], less, atol=1e-5, rtol=1e-4)
        assert torch.isfinite(build(name)(batch.xyz, torch.zeros_like(valid), layout).pooled).all()


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    layout = get_layout("kinect_v1_20", 2)
    batch, net = random_batch(layout), build(name, "kinect_v1_20")
    out = net(batch.xyz, batch.valid, layout).pooled
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    silent = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@pytest.mark.parametrize("name", SMALL)
def test_forward_leaves_the_global_random_state_alone(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch, net = random_batch(layout), build(name).train()
    state = torch.get_rng_state()
    net(batch.xyz, batch.valid, layout).pooled.sum().backward()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", SMALL)
def test_order_of_persons_does_not_matter(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch, net = random_batch(layout), build(name).eval()
    a = net(batch.xyz, batch.valid, layout).pooled
    b = net(batch.xyz.flip(1), batch.valid.flip(1), layout).pooled
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_input_gradient_equals_finite_differences(name: str) -> None:
    layout = get_layout("nite_15", 2)
    batch, net = random_batch(layout, clips=2, frames=6), build(name).double().eval()
    xyz = batch.xyz.double().requires_grad_()
    direction = torch.randn(xyz.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction = direction * batch.valid[..., None]
    weight = torch.randn(2, net.dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def value(x: torch.Tensor) -> torch.Tensor:
        return (net(x, batch.valid, layout).pooled * weight).sum()

    (grad,) = torch.autograd.grad(value(xyz), xyz)
    step = 1e-6
    with torch.no_grad():
        slope = (value(xyz + step * direction) - value(xyz - step * direction)) / (2 * step)
    torch.testing.assert_close((grad * direction).sum(), slope, atol=1e-7, rtol=1e-4)
    assert not grad[~batch.valid].any()
