"""What the other backbones promise beyond the common contract."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from helpers.skeletons import random_batch
from ssl_skel.data.layouts import get_layout
from ssl_skel.nn.agcn import AGCN, AdaptiveGraph, AGCNConfig
from ssl_skel.nn.bigru import BiGRU, BiGRUConfig
from ssl_skel.nn.graph import spatial_partition
from ssl_skel.nn.pointmlp import PointMLP, PointMLPConfig
from ssl_skel.nn.transformer import SkeletonTransformer, TransformerConfig, patch

LAYOUT = get_layout("nite_15", 1)


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_adaptive_edges_of_a_clip_are_the_skeletons_plus_a_distribution() -> None:
    torch.manual_seed(0)
    graph = spatial_partition(LAYOUT)
    x = torch.randn(4, 6, 5, 15)
    edges = AdaptiveGraph(6, 2, 15)(x, None, graph)
    attended = edges - graph - 1e-6
    assert torch.allclose(attended.sum(2), torch.ones(4, 3, 15), atol=1e-5)
    assert not torch.allclose(edges[0], edges[1])


def test_agcn_sees_joints_that_no_bone_connects() -> None:
    torch.manual_seed(0)
    net = AGCN(AGCNConfig(width=4, dim=8), LAYOUT).eval()
    block = net.blocks[0]
    x = torch.randn(1, 3, 4, 15, requires_grad=True)
    out, _ = block(x, None, net.graph)
    out[..., 5].sum().backward()
    assert x.grad is not None
    assert x.grad[..., 14].any()


def test_bigru_is_bidirectional_over_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = BiGRU(BiGRUConfig(hidden=8, layers=1), LAYOUT).eval()
    first, run = [], net._run

    def kept(frames: torch.Tensor, length: torch.Tensor | None) -> torch.Tensor:
        states = run(frames, length)
        first.append(states[0, 0].detach())
        return states

    monkeypatch.setattr(net, "_run", kept)
    batch = random_batch(LAYOUT, clips=1, whole=True)
    later = batch.xyz.clone()
    later[:, :, -1] += 1
    for xyz in (batch.xyz, later):
        net(xyz, batch.valid, LAYOUT)
    assert torch.equal(first[0][:8], first[1][:8])
    assert not torch.allclose(first[0][8:], first[1][8:])


def test_bigru_ignores_padding_at_the_end() -> None:
    torch.manual_seed(0)
    net = BiGRU(BiGRUConfig(hidden=8), LAYOUT).eval()
    batch = random_batch(LAYOUT, whole=True, frames=7)
    xyz = torch.cat([batch.xyz, torch.full_like(batch.xyz, 9.0)], 2)
    valid = torch.cat([batch.valid, torch.zeros_like(batch.valid)], 2)
    short, padded = net(batch.xyz, batch.valid, LAYOUT).pooled, net(xyz, valid, LAYOUT).pooled
    torch.testing.assert_close(short, padded)


def test_bigru_has_the_published_size() -> None:
    layout = get_layout("kinect_v2_25", 2)
    net = BiGRU(BiGRUConfig(), layout)
    gates = 2 * 3 * 1024
    want = gates * (75 + 1024 + 2) + 2 * gates * (2048 + 1024 + 2) + 150
    assert (net.dim, parameters(net)) == (2048, want)


def test_patches_hold_one_joint_over_consecutive_frames() -> None:
    x = torch.arange(2 * 10 * 15 * 3, dtype=torch.float32).view(2, 10, 15, 3)
    tokens = patch(x, 4)
    assert tokens.shape == (2, 3 * 15, 4, 3)
    assert torch.equal(tokens[1, 15 + 7], x[1, 4:8, 7])
    assert torch.equal(tokens[0, 2 * 15, :2], x[0, 8:, 0])
    assert not tokens[0, 2 * 15, 2:].any()


def test_transformer_has_mamps_size() -> None:
    layout = get_layout("kinect_v2_25", 2)
    net = SkeletonTransformer(TransformerConfig(), layout)
    block = 4 * 256 * 256 + 4 * 256 + 8 * 256 * 256 + 5 * 256 + 4 * 256
    assert parameters(net) == 8 * block + 12 * 256 + 256 + 25 * 256 + 2 * 256
    assert net.embed(torch.zeros(1, 120, 25, 3), None)[0].shape == (1, 30 * 25, 256)
    with pytest.raises(ValidationError, match="do not divide"):
        TransformerConfig(dim=10, heads=3)


def test_transformer_encodes_a_choice_of_tokens_as_if_the_rest_were_invalid() -> None:
    torch.manual_seed(0)
    net = SkeletonTransformer(TransformerConfig(dim=16, depth=2, heads=2), LAYOUT).eval()
    x, _ = net.embed(random_batch(LAYOUT, whole=True).xyz[:, 0], None)
    keep = torch.tensor([3, 7, 20])
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    mask[:, keep] = True
    torch.testing.assert_close(net.encode(x[:, keep], None), net.encode(x, mask)[:, keep])


def test_pointmlp_does_not_know_the_order_of_points() -> None:
    torch.manual_seed(0)
    net = PointMLP(PointMLPConfig(width=8, dim=16), LAYOUT).eval()
    batch = random_batch(LAYOUT)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    a = net(batch.xyz, batch.valid, LAYOUT).pooled
    b = net(batch.xyz[..., order, :].flip(2), batch.valid[..., order].flip(2), LAYOUT).pooled
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
