import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import textbook
from helpers.clouds import same
from ssl_skel.nn import chamfer as module
from ssl_skel.nn.chamfer import chamfer, nearest_pairs

forms = st.tuples(st.sampled_from(["max", "sum"]), st.booleans(), st.sampled_from([1.0, 0.25, 3.0, 0.0]))


@settings(max_examples=80, deadline=None)
@given(forms, st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_equals_the_textbook_in_loss_and_gradients(form, clouds, sources, targets, seed):
    reduction, squared, weight = form
    gen = torch.Generator().manual_seed(seed)
    p = torch.randn(clouds, sources, 6, generator=gen, dtype=torch.float64)
    q = torch.randn(clouds, targets, 6, generator=gen, dtype=torch.float64)
    valid = torch.rand(clouds, targets, generator=gen) < 0.7
    leaves = [x.clone().requires_grad_() for x in (p, q, p, q)]
    ours = chamfer(*leaves[:2], valid, reduction=reduction, squared=squared, colour_weight=weight)
    theirs = textbook.chamfer(*leaves[2:], valid, reduction, squared, weight)
    same(ours, theirs)
    ours.backward()
    theirs.backward()
    same(leaves[0].grad, leaves[2].grad)
    same(leaves[1].grad, leaves[3].grad)


@pytest.mark.parametrize("fast", ["0", "1"])
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_pairs_are_the_nearest_in_float32_compiled_or_not(fast, block, monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    monkeypatch.setitem(module.BLOCK, "cpu", block)
    gen = torch.Generator().manual_seed(0)
    p, q = torch.randn(3, 70, 6, generator=gen), torch.randn(3, 150, 6, generator=gen)
    valid = torch.rand(3, 150, generator=gen) < 0.8
    to_target, to_source = nearest_pairs(p, q, valid)
    distance = torch.cdist(p.double(), q.double())
    masked = distance.masked_fill(~valid[:, None], torch.inf)
    torch.testing.assert_close(
        distance.gather(2, to_target[..., None])[..., 0], masked.min(2).values, rtol=0, atol=1e-6
    )
    assert valid.gather(1, to_target).all()
    ours = distance.gather(1, to_source[:, None])[:, 0]
    torch.testing.assert_close(ours[valid], distance.min(1).values[valid], rtol=0, atol=1e-6)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("reduction", ["max", "sum"])
def test_zero_for_identical_sets_with_finite_gradients(reduction, squared):
    gen = torch.Generator().manual_seed(1)
    p = torch.randn(2, 20, 6, generator=gen).requires_grad_()
    loss = chamfer(p, p.detach()[:, torch.randperm(20, generator=gen)], reduction=reduction, squared=squared)
    loss.backward()
    assert loss == 0
    assert (p.grad == 0).all()


def test_symmetric_and_free_of_order():
    gen = torch.Generator().manual_seed(2)
    p, q = torch.randn(2, 20, 6, generator=gen).double(), torch.randn(2, 15, 6, generator=gen).double()
    for reduction in ("max", "sum"):
        there = chamfer(p, q, reduction=reduction)
        same(there, chamfer(q, p, reduction=reduction), 1e-12)
        order = torch.randperm(20, generator=gen)
        same(there, chamfer(p[:, order], q.flip(1), reduction=reduction), 1e-12)


def test_content_at_invalid_targets_changes_nothing():
    gen = torch.Generator().manual_seed(3)
    p, q = torch.randn(2, 9, 6, generator=gen).double(), torch.randn(2, 9, 6, generator=gen).double()
    valid = torch.rand(2, 9, generator=gen) < 0.6
    poisoned = q.masked_fill(~valid[..., None], torch.nan)
    results = []
    for target in (q, poisoned):
        leaf = p.clone().requires_grad_()
        loss = chamfer(leaf, target, valid)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(*results, rtol=0, atol=1e-14)


def test_a_cloud_without_targets_is_zero_among_others():
    gen = torch.Generator().manual_seed(4)
    p, q = torch.randn(2, 9, 6, generator=gen).requires_grad_(), torch.randn(2, 9, 6, generator=gen)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[0] = False
    loss = chamfer(p, q, valid)
    loss.backward()
    torch.testing.assert_close(loss, chamfer(p[1:], q[1:]) / 2)
    assert (p.grad[0] == 0).all()
    assert p.grad.isfinite().all()


def test_float32_and_bfloat16_losses():
    gen = torch.Generator().manual_seed(5)
    p, q = torch.randn(4, 300, 6, generator=gen), torch.randn(4, 200, 6, generator=gen)
    wide = chamfer(p.double(), q.double())
    torch.testing.assert_close(chamfer(p, q).double(), wide, rtol=1e-5, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = chamfer(p, q)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside.double(), wide, rtol=1e-5, atol=0)


def test_keeps_no_matrix_of_distances():
    gen = torch.Generator().manual_seed(6)
    p, q = torch.randn(2, 80, 6, generator=gen).requires_grad_(), torch.randn(2, 90, 6, generator=gen)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        chamfer(p, q)
    assert 0 < max(kept) <= 2 * 90 * 6


@pytest.mark.oracle
def test_pairs_are_those_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    gen = torch.Generator().manual_seed(7)
    p, q = torch.randn(1, 200, 6, generator=gen).double(), torch.randn(1, 300, 6, generator=gen).double()
    to_target, to_source = nearest_pairs(p, q, torch.ones(1, 300, dtype=torch.bool))
    for ours, query, base in ((to_target, p[0], q[0]), (to_source, q[0], p[0])):
        oracle = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(base.numpy()).kneighbors(query.numpy())[1]
        assert (ours[0].numpy() == oracle[:, 0]).all()
