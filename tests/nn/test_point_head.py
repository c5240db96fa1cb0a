import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import textbook
from helpers.clouds import Case, cases, joined, randomise, same, same_norm
from ssl_skel.nn.point_head import PointHead


@settings(max_examples=80, deadline=None)
@given(cases(), st.integers(1, 9), st.booleans())
def test_equals_the_textbook_in_outputs_gradients_and_statistics(case: Case, out: int, train: bool):
    ours = PointHead(case.x.shape[2], out).double()
    randomise(ours.norm, case, train)
    ours.train(train)
    theirs = copy.deepcopy(ours)
    x1, x2 = case.x.clone().requires_grad_(), case.x.clone().requires_grad_()
    y1, y2 = ours(x1, case.valid), textbook.point_head(theirs, theirs.norm, x2, case.valid)
    same(y1, y2)
    weight = case.normal(*y1.shape)
    (y1 * weight).sum().backward()
    (y2 * weight).sum().backward()
    for left, right in zip(joined(x1.grad, case.x, case.valid), joined(x2.grad, case.x, case.valid)):
        same(left, right)
    assert (x1.grad[~case.valid] == 0).all()
    same(ours.linear.weight.grad, theirs.linear.weight.grad)
    same_norm(ours.norm, theirs.norm)


def test_float32_statistics_survive_a_large_mean():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(3, 200, 8, generator=gen) + 300
    valid = torch.rand(3, 200, generator=gen) < 0.7
    narrow = PointHead(8, 16)
    wide = copy.deepcopy(narrow).double()
    torch.testing.assert_close(narrow(x, valid).double(), wide(x.double(), valid), rtol=0, atol=2e-2)
    torch.testing.assert_close(
        narrow.norm.running_var.double(), wide.norm.running_var, rtol=1e-3, atol=0
    )


def test_runs_products_in_bfloat16_and_statistics_in_float32():
    gen = torch.Generator().manual_seed(1)
    x, valid = torch.randn(2, 60, 8, generator=gen), torch.ones(2, 60, dtype=torch.bool)
    head = PointHead(8, 16)
    expected = copy.deepcopy(head)(x, valid)
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = head(leaf, valid)
    out.sum().backward()
    assert out.dtype == leaf.grad.dtype == torch.float32
    assert not torch.equal(out, expected)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.05)


def test_empty_clouds_give_zero_and_a_batch_of_them_leaves_statistics_alone():
    x = torch.full((2, 4, 3), torch.nan, requires_grad=True)
    head = PointHead(3, 5)
    before = [buffer.clone() for buffer in head.norm.buffers()]
    out = head(x, torch.zeros(2, 4, dtype=torch.bool))
    out.sum().backward()
    assert (out == 0).all()
    assert (x.grad == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, head.norm.buffers()))


def test_keeps_no_activation_of_all_points():
    gen = torch.Generator().manual_seed(2)
    x, valid = torch.randn(2, 50, 4, generator=gen).requires_grad_(), torch.ones(2, 50, dtype=torch.bool)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        PointHead(4, 300)(x, valid)
    assert max(kept) < 2 * 50 * 300
    assert kept, "the hook should have seen what is kept"


@pytest.mark.parametrize("train", [True, False])
def test_order_of_points_does_not_matter(train):
    gen = torch.Generator().manual_seed(3)
    x, valid = torch.randn(2, 30, 4, generator=gen).double(), torch.rand(2, 30, generator=gen) < 0.8
    head = PointHead(4, 6).double().train(train)
    order = torch.randperm(30, generator=gen)
    same(head(x, valid), head(x[:, order], valid[:, order]), 1e-12)
