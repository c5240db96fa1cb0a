"""InfoNCE against a queue or the batch (CPC, arXiv 1807.03748; MoCo, arXiv 1911.05722)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_skel.nn.gather import Gather, gathered
from ssl_skel.nn.precision import full_precision


@full_precision
def info_nce_logits(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.07) -> Tensor:
    """Similarities of queries with their keys (column 0) and with a queue (the rest), over the temperature.

    Args:
        query: (B, D); normalised here.
        key: (B, D); normalised here.
        queue: (K, D) unit vectors.
        temperature: Divides the cosines.

    Returns:
        (B, 1 + K) logits.
    """
    query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    positive = (query * key).sum(1, keepdim=True)
    return torch.cat([positive, (query @ queue.T)], dim=1) / temperature


@full_precision
def info_nce(query: Tensor, key: Tensor, queue: Tensor | None = None, temperature: float = 0.07,
             gather: Gather | None = None) -> Tensor:
    """Cross-entropy of finding each query's key among negatives: -log exp(q.k/t) / sum exp(q.n/t).

    Args:
        query: (B, D).
        key: (B, D), row i belonging to query i. Detach it where it comes from a momentum encoder.
        queue: (K, D) unit vectors as negatives, or None for the other keys of the batch.
        temperature: t.
        gather: Concatenates rows over processes; used without a queue only, as local rows suffice with one.

    Returns:
        Scalar mean over queries.
    """
    if queue is not None:
        return -F.log_softmax(info_nce_logits(query, key, queue, temperature), dim=1)[:, 0].mean()
    query, key = gathered(query, gather), gathered(key, gather)
    logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


@full_precision
def distribution_kl(student: Tensor, teacher: Tensor, student_temperature: float = 0.1,
                    teacher_temperature: float = 0.05) -> Tensor:
    """KL divergence of the softmaxes over neighbours, teacher to student (CMD, arXiv 2208.12448).

    Args:
        student: (B, K) cosines of the student with K neighbours.
        teacher: (B, K) cosines of the teacher with the same neighbours; detached here.
        student_temperature: Divides the student's cosines.
        teacher_temperature: Divides the teacher's cosines; the sharper of the two.

    Returns:
        Scalar mean over rows.
    """
    log_student = F.log_softmax(student / student_temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / teacher_temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
