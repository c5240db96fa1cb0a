"""Linear layers by oneDNN against `nn.Linear`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ssl_skel.nn import linear as module
from ssl_skel.nn.linear import Linear, by_fast_products


def pair(bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = Linear(12, 7, bias=bias, dtype=dtype), nn.Linear(12, 7, bias=bias, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def gradients(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    layer.zero_grad()
    out = layer(x)
    (out * torch.arange(out.numel()).view_as(out).sin()).sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (12,), (3, 4, 12), (2, 3, 4, 12), (0, 12)])
def test_equals_torch(shape: tuple[int, ...], bias: bool) -> None:
    ours, theirs = pair(bias)
    for mine, other in zip(gradients(ours, torch.randn(shape)), gradients(theirs, torch.randn(shape)), strict=True):
        assert mine.shape == other.shape
    x = torch.randn(shape)
    torch.testing.assert_close(gradients(ours, x), gradients(theirs, x), rtol=1e-5, atol=1e-5)


def test_strided_rows_equal_torch() -> None:
    ours, theirs = pair()
    x = torch.randn(12, 6).t()
    torch.testing.assert_close(gradients(ours, x), gradients(theirs, x), rtol=1e-5, atol=1e-5)


def test_frozen_weights_get_no_gradient_and_their_input_does() -> None:
    ours, _ = pair()
    ours.requires_grad_(False)
    x = torch.randn(3, 12, requires_grad=True)
    ours(x).sum().backward()
    torch.testing.assert_close(x.grad, ours.weight.sum(0).expand(3, -1))
    assert ours.weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_take_the_ordinary_product(dtype: torch.dtype) -> None:
    ours, theirs = pair(dtype=dtype)
    x = torch.randn(5, 12, dtype=dtype)
    for mine, other in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        assert torch.equal(mine, other)


def test_autocast_decides_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair()
    x = torch.randn(5, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))
        assert ours(x).dtype == torch.bfloat16


def test_without_onednn_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_onednn", lambda: False)
    ours, theirs = pair()
    x = torch.randn(5, 12)
    for mine, other in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        assert torch.equal(mine, other)


def test_layers_of_a_library_keep_their_names_and_weights() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)), nn.Bilinear(2, 2, 2))
    before = copy.deepcopy(net.state_dict())
    assert by_fast_products(net) is net
    assert [type(m) for m in (net[0], net[2][0], net[3])] == [Linear, Linear, nn.Bilinear]
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
    assert type(copy.deepcopy(net)[0]) is Linear
