"""VICReg (arXiv 2105.04906), in the two variants that circulate under the one name."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn.gather import Gather, gathered
from ssl_skel.nn.precision import full_precision


def variance_hinge(z: Tensor, eps: float = 1e-4) -> Tensor:
    """Mean over columns of max(0, 1 - sqrt(var + eps)), with the unbiased variance over the (B, D) batch."""
    return F.relu(1 - (z.var(0) + eps).sqrt()).mean()


def covariance_penalty(z: Tensor) -> Tensor:
    """Sum of squared off-diagonal covariances of (B, D), over D."""
    centred = z - z.mean(0)
    cov = (centred.T @ centred) / (len(z) - 1)
    return (cov.square().sum() - torch.diagonal(cov).square().sum()) / z.shape[1]


@full_precision
def vicreg(z0: Tensor, z1: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0,
           variant: Literal["code", "paper"] = "code", gather: Gather | None = None) -> Tensor:
    """Invariance + variance + covariance of two views.

    Args:
        z0: (B, D) projections of the first views, B at least 2.
        z1: (B, D) projections of the second views.
        invariance: Weight of the mean squared distance.
        variance: Weight of the variance hinge.
        covariance: Weight of the covariance penalty.
        variant: ``code`` halves the sum of the two views' hinges, as the authors' code and lightly do;
            ``paper`` does not, as equation 6 and solo-learn have it.
        gather: Concatenates rows over processes: the statistics are those of the whole batch.

    Returns:
        Scalar.
    """
    z0, z1 = gathered(z0, gather), gathered(z1, gather)
    hinge = variance_hinge(z0) + variance_hinge(z1)
    if variant == "code":
        hinge = hinge / 2
    penalty = covariance_penalty(z0) + covariance_penalty(z1)
    return invariance * F.mse_loss(z0, z1) + variance * hinge + covariance * penalty
