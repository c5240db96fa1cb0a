"""Barlow Twins (arXiv 2103.03230, equations 1 and 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.nn.gather import Gather, gathered
from ssl_skel.nn.precision import full_precision

EPS = 1e-5  # the variance epsilon of the authors' BatchNorm1d(affine=False)


def standardise(z: Tensor) -> Tensor:
    """Centre (B, D) and divide by the biased standard deviation of each column."""
    z = z
    return (z - z.mean(0)) / (z.var(0, unbiased=False) + EPS).sqrt()


@full_precision
def cross_correlation(z0: Tensor, z1: Tensor) -> Tensor:
    """(D, D) correlation over the batch of the columns of two (B, D) tensors."""
    return (standardise(z0).T @ standardise(z1)) / len(z0)


@full_precision
def barlow_twins(z0: Tensor, z1: Tensor, redundancy: float = 5e-3, gather: Gather | None = None) -> Tensor:
    """Pull the cross-correlation matrix of two views to the identity.

    Args:
        z0: (B, D) projections of the first views.
        z1: (B, D) projections of the second views.
        redundancy: Weight lambda of the off-diagonal terms.
        gather: Concatenates rows over processes: the statistics are those of the whole batch.

    Returns:
        Scalar sum over the matrix.
    """
    corr = cross_correlation(gathered(z0, gather), gathered(z1, gather))
    diagonal = torch.diagonal(corr)
    on = (diagonal - 1).square().sum()
    off = corr.square().sum() - diagonal.square().sum()
    return on + redundancy * off
