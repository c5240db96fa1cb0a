import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import textbook
from helpers.clouds import same
from ssl_skel.nn.folding import FoldingConfig, FoldingNet, square_grid


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 17), st.integers(2, 6), st.integers(1, 7),
    st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**31),
)
def test_equals_the_textbook_in_outputs_and_gradients(clouds, code, hidden, side, middle, touched, seed):
    gen = torch.Generator().manual_seed(seed)
    ours = FoldingNet(code, FoldingConfig(hidden=hidden, grid=side, middle=middle)).double()
    theirs = copy.deepcopy(ours)
    c1 = torch.randn(clouds, code, generator=gen, dtype=torch.float64).requires_grad_()
    c2 = c1.detach().clone().requires_grad_()
    y1, y2 = ours(c1), textbook.folding(theirs, c2)
    assert y1.shape == (clouds, side * side, 6)
    same(y1, y2)
    weight = torch.randn(y1.shape, generator=gen, dtype=torch.float64)
    weight *= torch.rand(y1.shape[:2], generator=gen)[..., None] < touched  # points without a gradient
    (y1 * weight).sum().backward()
    (y2 * weight).sum().backward()
    same(c1.grad, c2.grad)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters()):
        same(mine.grad, other.grad)
        assert mine.grad.shape == mine.shape, name


def test_float32_agrees_and_bfloat16_comes_near():
    gen = torch.Generator().manual_seed(0)
    net, code = FoldingNet(32, FoldingConfig(hidden=64, grid=9)), torch.randn(3, 32, generator=gen)
    wide = copy.deepcopy(net).double()(code.double())
    torch.testing.assert_close(net(code).double(), wide, rtol=0, atol=1e-5)
    leaf = code.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        half = net(leaf)
    half.sum().backward()
    assert half.dtype == leaf.grad.dtype == net.fold2.second.weight.grad.dtype == torch.float32
    torch.testing.assert_close(half.double(), wide, rtol=0, atol=1e-2)


def test_default_is_the_grid_and_the_widths_of_the_reference_code():
    net = FoldingNet(1024)
    assert net.grid.shape == (2025, 2)
    assert sum(p.numel() for p in net.parameters()) == 791_558 + 793_606
    assert "grid" not in net.state_dict()


def test_grid_spans_its_extent_evenly():
    grid = square_grid(4, 0.3)
    assert len({tuple(point) for point in grid.tolist()}) == 16
    assert torch.equal(grid.abs().amax(0), torch.tensor([0.3, 0.3]))
    torch.testing.assert_close(grid.view(4, 4, 2)[1, :, 0], torch.full((4,), -0.1))


def test_keeps_one_hidden_layer_a_fold():
    net, code = FoldingNet(8, FoldingConfig(hidden=16, grid=5)), torch.zeros(2, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        net(code)
    assert sum(size for size in kept if size >= 16 * 25) == 2 * 2 * 16 * 25  # of each of two folds and two clouds


def test_refuses_an_unknown_key():
    with pytest.raises(ValueError, match="sides"):
        FoldingConfig(sides=3)
