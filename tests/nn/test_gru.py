"""The CPU's GRU equals torch's: states and every gradient, with one and two directions, with ragged lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ssl_skel.nn import gru as module
from ssl_skel.nn.gru import run_gru


def both(gru, x, length, weight):
    """States and gradients of input and weights, by torch and by ours."""
    found = []
    for ours in (False, True):
        gru.zero_grad()
        leaf = x.clone().requires_grad_()
        if ours:
            states = run_gru(gru, leaf, length)
        elif length is None:
            states = gru(leaf)[0]
        else:
            packed = pack_padded_sequence(leaf, length, batch_first=True, enforce_sorted=False)
            states = pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        (states * weight).sum().backward()
        found.append([states.detach(), leaf.grad, *(p.grad.clone() for p in gru.parameters())])
    return zip(*found, strict=True)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 5), frames=st.integers(1, 7), layers=st.integers(1, 3), two=st.booleans(),
       ragged=st.booleans(), seed=st.integers(0, 1000))
def test_equals_torch_in_float64(rows, frames, layers, two, ragged, seed):
    gen = torch.Generator().manual_seed(seed)
    net = nn.GRU(6, 5, layers, batch_first=True, bidirectional=two).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=gen))
    x = torch.randn(rows, frames, 6, generator=gen, dtype=torch.float64)
    weight = torch.randn(rows, frames, 5 * (1 + two), generator=gen, dtype=torch.float64)
    length = torch.randint(1, frames + 1, (rows,), generator=gen) if ragged else None
    for theirs, ours in both(net, x, length, weight):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("packed", [True, False])
def test_equals_torch_in_float32_with_and_without_packed_weights(monkeypatch, packed):
    if packed and not module.has_packed_products():
        pytest.skip("this torch can't pack weights")
    monkeypatch.setattr(module, "has_packed_products", lambda: packed)
    torch.manual_seed(0)
    net = nn.GRU(12, 16, 2, batch_first=True, bidirectional=True)
    x, weight = torch.randn(4, 9, 12), torch.randn(4, 9, 32)
    for theirs, ours in both(net, x, torch.tensor([9, 4, 1, 7]), weight):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_bf16_products_stay_near():
    torch.manual_seed(0)
    net = nn.GRU(12, 16, 2, batch_first=True, bidirectional=True)
    x = torch.randn(4, 9, 12)
    exact = run_gru(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        near = run_gru(net, x)
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    torch.testing.assert_close(near, exact, atol=0.03, rtol=0.03)
    near.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in net.parameters())


def test_what_stands_after_the_end_changes_nothing():
    torch.manual_seed(0)
    net = nn.GRU(6, 5, 2, batch_first=True, bidirectional=True)
    x, length = torch.randn(3, 8, 6), torch.tensor([8, 3, 5])
    spoilt = x.clone()
    spoilt[1, 3:], spoilt[2, 5:] = 1e3, -1e3
    one, other = run_gru(net, x, length), run_gru(net, spoilt, length)
    assert torch.equal(one, other)
    assert not one[1, 3:].any()
