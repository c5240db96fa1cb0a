"""Cosine losses without negatives: BYOL (arXiv 2006.07733, eq. 2), SimSiam (arXiv 2011.10566, eq. 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn.precision import full_precision


@full_precision
def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean negative cosine of (B, D) predictions and (B, D) targets; the target gets no gradient."""
    return -F.cosine_similarity(prediction, target.detach(), dim=-1).mean()


def byol(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared distance of unit vectors, 2 - 2 cos, averaged over rows.

    Args:
        prediction: (B, D) from the online predictor.
        target: (B, D) from the target projector; gets no gradient.

    Returns:
        Scalar.
    """
    return 2 + 2 * negative_cosine(prediction, target)


def simsiam(p0: Tensor, z0: Tensor, p1: Tensor, z1: Tensor) -> Tensor:
    """Symmetric negative cosine with stop-gradient, in [-1, 1].

    Args:
        p0: (B, D) prediction from the first views.
        z0: (B, D) projection of the first views.
        p1: (B, D) prediction from the second views.
        z1: (B, D) projection of the second views.

    Returns:
        Scalar.
    """
    return (negative_cosine(p0, z1) + negative_cosine(p1, z0)) / 2
