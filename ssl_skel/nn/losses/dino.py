"""Self-distillation with a centre (DINO, arXiv 2104.14294) and the KoLeo spreader (arXiv 1806.03198)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn.gather import Gather, gathered
from ssl_skel.nn.precision import full_precision


@full_precision
def dino(student: Tensor, teacher: Tensor, centre: Tensor, student_temperature: float = 0.1,
         teacher_temperature: float = 0.04) -> Tensor:
    """Cross-entropy of each student view with every *other* teacher view.

    Args:
        student: (S, B, K) logits; view i of the student is view i of the teacher.
        teacher: (W, B, K) logits of the first W views; gets no gradient.
        centre: (K,) running mean of the teacher's logits, subtracted from them.
        student_temperature: Divides the student's logits.
        teacher_temperature: Divides the centred teacher's logits.

    Returns:
        Scalar mean over clips and the S * W - W pairs.
    """
    target = F.softmax((teacher.detach() - centre) / teacher_temperature, dim=-1)
    log_prob = F.log_softmax(student / student_temperature, dim=-1)
    pairs = -torch.einsum("wbk,sbk->ws", target, log_prob)
    total = pairs.sum() - torch.diagonal(pairs).sum()
    return total / (student.shape[1] * (pairs.numel() - min(pairs.shape)))


@full_precision
def koleo(z: Tensor, eps: float = 1e-8, gather: Gather | None = None) -> Tensor:
    """Mean of -log of the distance to the nearest other unit vector.

    Args:
        z: (B, D), B at least 2; normalised here.
        eps: Added to differences and distances.
        gather: Concatenates rows over processes.

    Returns:
        Scalar.
    """
    z = F.normalize(gathered(z, gather), dim=1, eps=eps)
    with torch.no_grad():
        cosines = (z @ z.T)
        nearest = cosines.fill_diagonal_(-torch.inf).argmax(1)
    distance = F.pairwise_distance(z, z[nearest], p=2, eps=eps)
    return -(distance + eps).log().mean()
