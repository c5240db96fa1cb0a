"""Masked prediction of joints (MAE, arXiv 2111.06377) or of normalised motion (MAMP, arXiv 2308.07092)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.nn.gather import Gather
from ssl_skel.nn.precision import full_precision


@full_precision
def masked_mse(prediction: Tensor, target: Tensor, weight: Tensor, gather: Gather | None = None) -> Tensor:
    """Squared error averaged over the points that count.

    Args:
        prediction: (..., C).
        target: (..., C).
        weight: (...) bool or float, zero where a point is visible to the encoder or invalid.
        gather: Concatenates over processes, so that every point of the whole batch weighs the same.

    Returns:
        Scalar; zero where nothing counts.
    """
    weight = weight.to(prediction.dtype)
    error = (prediction - target).square().mean(-1)
    sums = torch.stack([(error * weight).sum(), weight.sum()])[None]
    if gather is not None:
        sums = gather(sums)
    whole = sums.sum(0)
    return whole[0] / whole[1].clamp(min=1)


def motion_target(xyz: Tensor, valid: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Displacement of every point over `stride` frames, x[t + stride] - x[t]; the last frames have none.

    Args:
        xyz: (B, M, T, V, 3).
        valid: (B, M, T, V) bool.
        stride: Frames between the two positions.

    Returns:
        (B, M, T, V, 3) displacements, zero where there is none, and (B, M, T, V) bool, where there is one.
    """
    both = torch.zeros_like(valid)
    both[:, :, :-stride] = valid[:, :, stride:] & valid[:, :, :-stride]
    motion = torch.zeros_like(xyz)
    motion[:, :, :-stride] = xyz[:, :, stride:] - xyz[:, :, :-stride]
    return motion.masked_fill(~both[..., None], 0), both


def normalise_target(target: Tensor, valid: Tensor, eps: float = 1e-6) -> Tensor:
    """Standardise each token's target by the mean and variance of its own valid values (MAE's norm_pix_loss).

    Args:
        target: (..., P, C) values of one token: P points of C channels.
        valid: (..., P) bool.
        eps: Added to the variance, in squared units of the target.

    Returns:
        (..., P, C), zero where invalid; the unbiased variance, as MAE's and MAMP's code take it.
    """
    weight = valid[..., None].to(target.dtype)
    count = weight.sum(dim=(-2, -1), keepdim=True) * target.shape[-1]
    mean = (target * weight).sum(dim=(-2, -1), keepdim=True) / count.clamp(min=1)
    centred = (target - mean) * weight
    var = centred.square().sum(dim=(-2, -1), keepdim=True) / (count - 1).clamp(min=1)
    return centred / (var + eps).sqrt()
