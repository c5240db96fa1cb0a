"""Strategies and comparisons for tests of point-cloud kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A drawn batch: (B, N, C) features in float64 with NaN at invalid points, (B, N) mask, k, and a generator."""

    x: Tensor
    valid: Tensor
    k: int
    gen: torch.Generator

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.gen, dtype=torch.float64)


@st.composite
def cases(draw: st.DrawFn, most: int = 14, channels: int = 6) -> Case:
    """Draw ragged clouds with duplicates: at least two valid points in all, k from 1 to past N."""
    gen = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    clouds, points, width = draw(st.integers(1, 4)), draw(st.integers(2, most)), draw(st.integers(1, channels))
    x = torch.randn(clouds, points, width, generator=gen, dtype=torch.float64)
    if draw(st.booleans()):
        copies = torch.randint(points, (clouds, points), generator=gen)
        x = x.gather(1, copies[..., None].expand_as(x))
    valid = torch.rand(clouds, points, generator=gen) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    if draw(st.booleans()):
        valid[draw(st.integers(0, clouds - 1))] = False
    if valid.sum() < 2:
        valid[0, :2] = True
    return Case(x.masked_fill(~valid[..., None], torch.nan), valid, draw(st.integers(1, points + 2)), gen)


def randomise(norm: nn.BatchNorm1d, case: Case, train: bool) -> None:
    """Give a norm scales of both signs, shifts and running statistics."""
    width = norm.num_features
    with torch.no_grad():
        norm.weight.copy_(case.normal(width))
        norm.bias.copy_(case.normal(width))
        norm.running_mean.copy_(case.normal(width))
        norm.running_var.copy_(case.normal(width).square() + 0.1)
    norm.train(train)


def joined(grad: Tensor, x: Tensor, valid: Tensor) -> list[Tensor]:
    """Sum gradients over points that coincide: which of them is the arg-max is free."""
    sums = []
    for g, cloud, mask in zip(grad, x, valid):
        places, groups = torch.unique(cloud[mask], dim=0, return_inverse=True)
        sums.append(torch.zeros_like(places).index_add_(0, groups, g[mask]))
    return sums


def same(ours: Tensor, other: Tensor, tolerance: float = 1e-9) -> None:
    """Compare relative to the larger of 1 and the largest entry."""
    scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
    torch.testing.assert_close(ours, other, rtol=0, atol=tolerance * scale)


def same_norm(ours: nn.BatchNorm1d, other: nn.BatchNorm1d) -> None:
    """Compare gradients and buffers of two norms."""
    same(ours.weight.grad, other.weight.grad)
    same(ours.bias.grad, other.bias.grad)
    same(ours.running_mean, other.running_mean)
    same(ours.running_var, other.running_var)
