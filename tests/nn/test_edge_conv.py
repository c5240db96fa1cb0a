import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import textbook
from helpers.clouds import Case, cases, joined, randomise, same, same_norm
from ssl_skel.nn.edge_conv import EdgeConv
from ssl_skel.nn.knn import knn


def make(case: Case, out: int, train: bool) -> EdgeConv:
    layer = EdgeConv(case.x.shape[2], out).double()
    randomise(layer.norm, case, train)
    layer.train(train)
    return layer


@settings(max_examples=80, deadline=None)
@given(cases(), st.integers(1, 7), st.booleans())
def test_equals_the_textbook_in_outputs_gradients_and_statistics(case: Case, out: int, train: bool):
    ours = make(case, out, train)
    theirs = copy.deepcopy(ours)
    graph = knn(case.x, case.valid, case.k)
    x1, x2 = case.x.clone().requires_grad_(), case.x.clone().requires_grad_()
    y1 = ours(x1, graph, case.valid)
    y2 = textbook.edge_conv(theirs, theirs.norm, x2, graph, case.valid)
    same(y1, y2)
    assert (y1[~case.valid] == 0).all()
    weight = case.normal(*y1.shape)
    (y1 * weight).sum().backward()
    (y2 * weight).sum().backward()
    for left, right in zip(joined(x1.grad, case.x, case.valid), joined(x2.grad, case.x, case.valid)):
        same(left, right)
    assert (x1.grad[~case.valid] == 0).all()
    same(ours.linear.weight.grad, theirs.linear.weight.grad)
    same_norm(ours.norm, theirs.norm)


@pytest.mark.parametrize("channels", [5, 64, 130])
@pytest.mark.parametrize("train", [True, False])
def test_compiled_loops_give_the_numbers_of_torch(train, channels, monkeypatch):
    gen = torch.Generator().manual_seed(3)
    x = torch.randn(3, 90, 6, generator=gen)
    valid = torch.rand(3, 90, generator=gen) < 0.8
    valid[1, 4:] = False  # fewer than k
    layer = EdgeConv(6, channels).train(train)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.randn(channels, 12, generator=gen))
        layer.norm.weight.copy_(torch.randn(channels, generator=gen))
    graph, weight = knn(x, valid, 9), torch.randn(3, 90, channels, generator=gen)
    results = []
    for fast in ("0", "1"):
        monkeypatch.setenv("SSL_SKEL_FAST", fast)
        mine, leaf = copy.deepcopy(layer), x.clone().requires_grad_()
        out = mine(leaf, graph, valid)
        (out * weight).sum().backward()
        results.append([out.detach(), leaf.grad, *(p.grad for p in mine.parameters()), *mine.buffers()])
    for plain, compiled in zip(*results):
        same(compiled.double(), plain.double(), 2e-5)


def test_statistics_stay_in_float32_under_autocast():
    gen = torch.Generator().manual_seed(4)
    x, valid = torch.randn(2, 80, 8, generator=gen), torch.ones(2, 80, dtype=torch.bool)
    layer, graph = EdgeConv(8, 16), knn(x, valid, 6)
    wide = copy.deepcopy(layer)
    expected = wide(x, graph, valid)
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(leaf, graph, valid)
    out.sum().backward()
    assert out.dtype == leaf.grad.dtype == layer.norm.running_var.dtype == torch.float32
    assert not torch.equal(out, expected), "products should have run in bfloat16"
    torch.testing.assert_close(out, expected, rtol=0, atol=0.06)
    torch.testing.assert_close(layer.norm.running_var, wide.norm.running_var, rtol=0.02, atol=1e-3)


def test_an_empty_cloud_changes_nothing_for_the_others():
    gen = torch.Generator().manual_seed(5)
    x, valid = torch.randn(3, 20, 3, generator=gen), torch.ones(3, 20, dtype=torch.bool)
    valid[1] = False
    x[1] = torch.nan
    layer = EdgeConv(3, 4)
    alone = copy.deepcopy(layer)
    out = layer(x, knn(x, valid, 5), valid)
    rest = alone(x[[0, 2]], knn(x[[0, 2]], valid[[0, 2]], 5), valid[[0, 2]])
    assert (out[1] == 0).all()
    torch.testing.assert_close(out[[0, 2]], rest)
    torch.testing.assert_close(layer.norm.running_var, alone.norm.running_var)


@pytest.mark.parametrize("fast", ["0", "1"])
def test_a_batch_without_points_is_zero_and_leaves_statistics_alone(fast, monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    x, valid = torch.full((2, 5, 3), torch.nan, requires_grad=True), torch.zeros(2, 5, dtype=torch.bool)
    layer = EdgeConv(3, 4)
    before = [buffer.clone() for buffer in layer.norm.buffers()]
    out = layer(x, knn(x, valid, 2), valid)
    out.sum().backward()
    assert (out == 0).all()
    assert (x.grad == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, layer.norm.buffers()))


def test_momentum_none_averages_over_all_batches():
    gen = torch.Generator().manual_seed(6)
    layer = EdgeConv(3, 4).double()
    layer.norm.momentum = None
    theirs = copy.deepcopy(layer)
    valid = torch.ones(2, 9, dtype=torch.bool)
    for _ in range(3):
        x = torch.randn(2, 9, 3, generator=gen, dtype=torch.float64)
        graph = knn(x, valid, 3)
        layer(x, graph, valid)
        textbook.edge_conv(theirs, theirs.norm, x, graph, valid)
    same(layer.norm.running_mean, theirs.norm.running_mean)
    same(layer.norm.running_var, theirs.norm.running_var)


@pytest.mark.oracle
@pytest.mark.parametrize("train", [True, False])
def test_equals_torch_geometric(train):
    geometric = pytest.importorskip("torch_geometric.nn")
    gen = torch.Generator().manual_seed(7)
    x, valid = torch.randn(2, 40, 5, generator=gen, dtype=torch.float64), torch.ones(2, 40, dtype=torch.bool)
    ours = EdgeConv(5, 8).double()
    with torch.no_grad():
        ours.norm.weight.copy_(torch.randn(8, generator=gen))
    linear = torch.nn.Linear(10, 8, bias=False).double()
    inner = torch.nn.Sequential(linear, torch.nn.BatchNorm1d(8).double(), torch.nn.LeakyReLU(0.2))
    theirs = geometric.EdgeConv(inner, aggr="max").train(train)  # which draws its weights anew
    with torch.no_grad():
        linear.weight.copy_(ours.linear.weight.roll(5, 1))  # their order is [x_i ; x_j - x_i]
    inner[1].load_state_dict(ours.norm.state_dict())
    graph = knn(x, valid, 7)
    source = (graph + torch.tensor([0, 40])[:, None, None]).flatten()
    edges = torch.stack([source, torch.arange(80).repeat_interleave(7)])
    x1, x2 = x.clone().requires_grad_(), x.flatten(0, 1).clone().requires_grad_()
    y1, y2 = ours.train(train)(x1, graph, valid), theirs(x2, edges)
    same(y1.flatten(0, 1), y2)
    weight = torch.randn(80, 8, generator=gen, dtype=torch.float64)
    (y1.flatten(0, 1) * weight).sum().backward()
    (y2 * weight).sum().backward()
    same(x1.grad.flatten(0, 1), x2.grad)
    same(ours.linear.weight.grad.roll(5, 1), linear.weight.grad)
    same(ours.norm.running_var, inner[1].running_var)
