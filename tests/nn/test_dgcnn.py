import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import textbook
from helpers.clouds import same
from ssl_skel.api import Features
from ssl_skel.data.layouts import get_layout
from ssl_skel.errors import UsageMistake
from ssl_skel.nn import products
from ssl_skel.nn.chamfer import chamfer
from ssl_skel.nn.dgcnn import DGCNN, DGCNNConfig, compact
from ssl_skel.nn.folding import FoldingConfig, FoldingNet
from ssl_skel.nn.knn import knn

LAYOUT = get_layout("nite_15")
SMALL = {"k": 5, "widths": (6, 8), "dim": 12}


def clips(seed: int, clouds: int = 3, frames: int = 2, dtype: torch.dtype = torch.float64):
    gen = torch.Generator().manual_seed(seed)
    xyz = torch.randn(clouds, 2, frames, 15, 3, generator=gen, dtype=dtype)
    valid = torch.rand(clouds, 2, frames, 15, generator=gen) < 0.8
    valid[0, 1] = False  # an absent person
    return xyz.masked_fill(~valid[..., None], torch.nan), valid


def textbook_encoder(net: DGCNN, points: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    x, outputs, graph = points, [], knn(points, valid, net.cfg.k)
    for number, conv in enumerate(net.convs):
        if number and net.cfg.graph == "dynamic":
            graph = knn(x.detach(), valid, net.cfg.k)
        x = textbook.edge_conv(conv, conv.norm, x, graph, valid)
        outputs.append(x)
    return textbook.point_head(net.head, net.head.norm, torch.cat(outputs, 2), valid)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["dynamic", "static"]), st.booleans())
def test_equals_the_textbook_in_outputs_gradients_and_statistics(seed, graph, train):
    xyz, valid = clips(seed)
    ours = DGCNN(DGCNNConfig(graph=graph, **SMALL), LAYOUT).double().train(train)
    theirs = copy.deepcopy(ours)
    x1, x2 = xyz.clone().requires_grad_(), xyz.clone().requires_grad_()
    y1 = ours(x1, valid, LAYOUT).pooled
    y2 = textbook_encoder(theirs, x2.flatten(1, 3), valid.flatten(1))
    same(y1, y2)
    weight = torch.randn(y1.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    (y1 * weight).sum().backward()
    (y2 * weight).sum().backward()
    same(x1.grad[valid], x2.grad[valid])
    assert (x1.grad[~valid] == 0).all()
    for mine, other in zip([*ours.parameters()], [*theirs.parameters()]):
        same(mine.grad, other.grad)
    for mine, other in zip([*ours.buffers()], [*theirs.buffers()]):
        same(mine.double(), other.double())


@pytest.mark.parametrize("fast", ["0", "1"])
def test_the_loss_of_a_step_agrees_in_float32(fast, monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    xyz, valid = clips(1, clouds=4, frames=4, dtype=torch.float32)
    encoder = DGCNN(DGCNNConfig(**SMALL), LAYOUT)
    decoder = FoldingNet(12, FoldingConfig(hidden=16, grid=7))
    target = torch.randn(4, 120, 6, generator=torch.Generator().manual_seed(2))
    other, fold = copy.deepcopy(encoder).double(), copy.deepcopy(decoder).double()
    ours = chamfer(decoder(encoder(xyz, valid, LAYOUT).pooled), target, valid.flatten(1))
    code = textbook_encoder(other, xyz.double().flatten(1, 3), valid.flatten(1))
    theirs = textbook.chamfer(textbook.folding(fold, code), target.double(), valid.flatten(1))
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("train", [True, False])
def test_content_at_invalid_points_changes_nothing(train):
    xyz, valid = clips(3)
    net = DGCNN(DGCNNConfig(**SMALL), LAYOUT).double().train(train)
    other = torch.where(valid[..., None], xyz, 7.0)
    assert torch.equal(copy.deepcopy(net)(xyz, valid, LAYOUT).pooled, net(other, valid, LAYOUT).pooled)


@pytest.mark.parametrize("train", [True, False])
def test_order_of_points_does_not_matter(train):
    xyz, valid = clips(4)
    net = DGCNN(DGCNNConfig(**SMALL), LAYOUT).double().train(train)
    points, mask = xyz.flatten(1, 3), valid.flatten(1)
    order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(5))
    same(net.encode(points[:, order], mask[:, order]), net.encode(points, mask), 1e-9)


def test_a_clip_without_points_is_zero_and_poisons_nothing():
    xyz, valid = clips(6)
    valid[1], xyz[1] = False, torch.nan
    net = DGCNN(DGCNNConfig(**SMALL), LAYOUT).double()
    alone = copy.deepcopy(net)
    features = net(xyz, valid, LAYOUT)
    assert isinstance(features, Features)
    assert features.tokens is None
    assert (features.pooled[1] == 0).all()
    same(features.pooled[[0, 2]], alone(xyz[[0, 2]], valid[[0, 2]], LAYOUT).pooled, 1e-12)
    for mine, other in zip(net.buffers(), alone.buffers()):
        same(mine.double(), other.double(), 1e-12)


def test_only_clips_without_points_give_finite_features_and_gradients():
    xyz, valid = clips(7)
    valid[:] = False
    xyz = torch.full_like(xyz, torch.nan).requires_grad_()
    net = DGCNN(DGCNNConfig(**SMALL), LAYOUT).double()
    out = net(xyz, valid, LAYOUT).pooled
    out.sum().backward()
    assert (out == 0).all()
    assert (xyz.grad == 0).all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("max_points", [None, 60, 50])
def test_smaller_clouds_give_the_same_features(max_points):
    xyz, valid = clips(8)
    valid[:, :, :, 12:] = False
    net = DGCNN(DGCNNConfig(**SMALL), LAYOUT).double()
    whole = copy.deepcopy(net).encode(xyz.flatten(1, 3), valid.flatten(1))
    same(net(xyz, valid, LAYOUT, max_points=max_points).pooled, whole, 1e-10)


def test_compact_keeps_valid_points_in_order():
    xyz, valid = clips(9)
    points, mask = compact(xyz.flatten(1, 3), valid.flatten(1))
    assert points.shape[1] == int(valid.flatten(1).sum(1).max())
    for cloud, kept, here, there in zip(xyz.flatten(1, 3), points, valid.flatten(1), mask):
        assert torch.equal(cloud[here], kept[there])


def test_a_broken_promise_is_refused():
    xyz, valid = clips(10)
    with pytest.raises(UsageMistake, match="max_points = 3"):
        DGCNN(DGCNNConfig(**SMALL), LAYOUT).double()(xyz, valid, LAYOUT, max_points=3)


def test_works_under_autocast_and_comes_near():
    xyz, valid = clips(11, clouds=6, frames=6, dtype=torch.float32)
    net = DGCNN(DGCNNConfig(**SMALL), LAYOUT).eval()
    wide = net(xyz, valid, LAYOUT).pooled.detach()
    with torch.autocast("cpu", torch.bfloat16):
        half = net(xyz, valid, LAYOUT).pooled
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, wide, rtol=0, atol=0.1 * float(wide.abs().max()))


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_clouds_worked_on_together_give_the_same_numbers(at_once, monkeypatch):
    """Several clouds at a time, as on a GPU, against one at a time."""
    first = DGCNN(DGCNNConfig(**SMALL), LAYOUT).double(), FoldingNet(12, FoldingConfig(hidden=16, grid=5)).double()
    results = []
    for stack in (at_once, 1):
        monkeypatch.setattr(products, "stack_size", lambda *_, stack=stack: stack)
        encoder, decoder = copy.deepcopy(first)
        xyz, valid = clips(12, clouds=5)
        target = torch.randn(5, 60, 6, generator=torch.Generator().manual_seed(13), dtype=torch.float64)
        loss = chamfer(decoder(encoder(xyz, valid, LAYOUT).pooled), target, valid.flatten(1))
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in [*encoder.parameters(), *decoder.parameters()])])
    for together, alone in zip(*results):
        same(together, alone, 1e-11)


def test_a_step_never_waits_for_the_device():
    """On the meta device there are no values: whatever reads one (item, nonzero, a data-dependent shape) raises."""
    net, decoder = DGCNN(DGCNNConfig(**SMALL), LAYOUT).to("meta"), FoldingNet(12, FoldingConfig(grid=4)).to("meta")
    xyz = torch.zeros(2, 1, 9, 15, 3, device="meta")
    valid, target = torch.ones(2, 1, 9, 15, dtype=torch.bool, device="meta"), torch.zeros(2, 135, 6, device="meta")
    loss = chamfer(decoder(net(xyz, valid, LAYOUT, max_points=100).pooled), target, valid.flatten(1))
    loss.backward()
    assert all(p.grad.shape == p.shape for p in [*net.parameters(), *decoder.parameters()])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiles_with_breaks_to_the_same_loss():
    xyz, valid = clips(14, dtype=torch.float32)
    net = DGCNN(DGCNNConfig(k=3, widths=(4,), dim=8), LAYOUT)
    compiled = torch.compile(copy.deepcopy(net), backend="aot_eager")
    expected, out = net(xyz, valid, LAYOUT).pooled, compiled(xyz, valid, LAYOUT).pooled
    torch.testing.assert_close(out, expected)
    expected.sum().backward()
    out.sum().backward()
    torch.testing.assert_close(compiled.head.linear.weight.grad, net.head.linear.weight.grad)
