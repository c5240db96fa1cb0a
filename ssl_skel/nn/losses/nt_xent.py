"""NT-Xent, the normalised temperature-scaled cross-entropy of SimCLR (arXiv 2002.05709, equation 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn.gather import Gather, gathered
from ssl_skel.nn.precision import full_precision


@full_precision
def nt_xent(z0: Tensor, z1: Tensor, temperature: float = 0.5, gather: Gather | None = None) -> Tensor:
    """Mean over all 2B rows of the cross-entropy of finding the other view among the 2B - 1 others.

    Args:
        z0: (B, D) projections of the first views.
        z1: (B, D) projections of the second views.
        temperature: Divides the cosines.
        gather: Concatenates rows over processes.

    Returns:
        Scalar.
    """
    z0, z1 = gathered(z0, gather), gathered(z1, gather)
    z = F.normalize(torch.cat([z0, z1]), dim=1)
    logits = (z @ z.T) / temperature
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    other = torch.arange(len(z), device=z.device).roll(len(z0))
    return F.cross_entropy(logits, other)
