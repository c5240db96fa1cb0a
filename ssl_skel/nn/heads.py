"""Heads on pooled vectors: projectors, predictors, prototypes."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.nn.linear import Linear
from ssl_skel.nn.norm import MaskedBatchNorm

__all__ = ["PrototypeHead", "mlp"]


def mlp(*dims: int, norm: bool = False, last_norm: Literal["no", "yes", "plain"] = "no",
        bias: bool = True) -> nn.Sequential:
    """Linear layers with ReLU between them.

    MoCo and SimCLR project without normalisation; BYOL's projector and predictor normalise the hidden layer;
    SimSiam's projector normalises the last layer too, without scale and shift; Barlow Twins has no biases.

    Args:
        dims: Sizes, input first.
        norm: Whether hidden layers are batch-normalised before the ReLU.
        last_norm: Whether the output is batch-normalised: ``no``, ``yes``, or ``plain`` (no scale and shift).
        bias: Whether the linear layers have biases.

    Returns:
        Module from (B, dims[0]) to (B, dims[-1]).
    """
    layers: list[nn.Module] = []
    for number, (width, out) in enumerate(itertools.pairwise(dims), start=1):
        layers.append(Linear(width, out, bias=bias))
        if number < len(dims) - 1:
            layers.extend([MaskedBatchNorm(out)] if norm else [])
            layers.append(nn.ReLU(inplace=True))
        elif last_norm != "no":
            layers.append(MaskedBatchNorm(out, affine=last_norm == "yes"))
    return nn.Sequential(*layers)


class PrototypeHead(nn.Module):
    """DINO's head: three linear layers with GELU, a unit-length bottleneck, unit-length prototypes.

    Its input is batch-normalised, which DINO's is not: an untrained skeleton encoder gives nearly the same vector
    for every clip, and once the centre has taken that away, only the uniform distribution is left to match.

    Args:
        dim: Of the pooled vector.
        hidden: Width of the hidden layers.
        bottleneck: Width of the bottleneck.
        prototypes: Number of outputs K.
    """

    def __init__(self, dim: int, hidden: int = 2048, bottleneck: int = 256, prototypes: int = 65536) -> None:
        super().__init__()
        self.body = nn.Sequential(MaskedBatchNorm(dim, affine=False), Linear(dim, hidden), nn.GELU(),
                                  Linear(hidden, hidden), nn.GELU(), Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        for module in self.body:
            if isinstance(module, Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D) to (B, K) cosines with the prototypes."""
        return F.linear(F.normalize(self.body(x), dim=-1), F.normalize(self.prototypes, dim=-1))
