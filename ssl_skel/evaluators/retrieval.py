"""Retrieval: each test clip ranks the training clips by cosine; mean average precision and recall at 1, 5, 10."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.evaluators.common import pair_weights, train_labels, unit_streams

DEPTHS = (1, 5, 10)
BLOCK_ELEMENTS = 1 << 24


class Retrieval(Evaluator):
    """Retrieval of training clips by test clips.

    A clip's average precision depends on its class, which nobody knows yet; so the evaluator states what it would
    be for every class, and `score` picks. Equally near clips count in the order of the training part. Both
    fusions add up the streams' cosines. Papers that print "retrieval" mean R@1, which is 1-NN accuracy.
    """

    name = "retrieval"
    primary = "map"

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Rank the whole training part for each test clip.

        Raises:
            SkelError: If a feature is not finite or zero, or a class is absent from training.
        """
        labels = train_labels(ctx).to(ctx.device)
        streams = list(zip(pair_weights(ctx), unit_streams(ctx), strict=True))
        rows = max(1, BLOCK_ELEMENTS // len(labels))
        precision, depth, best = [], [], []
        for block in torch.split(torch.arange(len(ctx.test), device=ctx.device), rows):
            similarity = torch.stack([share * (query[block] @ memory.T) for share, (memory, query) in streams]).sum(0)
            ranked = labels[torch.sort(similarity, dim=1, descending=True, stable=True).indices]
            precision.append(average_precision(ranked, ctx.num_classes))
            found = first_rank(ranked, ctx.num_classes)
            depth.append(found)
            best.append(top_k(-found))
        return EvalResult(top=torch.cat(best), extra={"ap": torch.cat(precision).float().cpu(),
                                                      "first": torch.cat(depth).cpu()})

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """``map`` and ``r1``, ``r5``, ``r10`` beside the accuracies of the nearest clip's class."""
        ap = result.extra["ap"].double().gather(1, labels[:, None])
        first = result.extra["first"].gather(1, labels[:, None])
        return ({"map": float(ap.mean())} | {f"r{k}": float((first < k).double().mean()) for k in DEPTHS}
                | classification_metrics(result.top, labels, num_classes))


def grouped_ranks(ranked: Tensor) -> Tensor:
    """Places of the clips of each class, class by class, rising within a class.

    Args:
        ranked: (b, n) int64 labels in order of retrieval; every row is a permutation of the same labels.

    Returns:
        (b, n) int64 places from 0.
    """
    return torch.sort(ranked, dim=1, stable=True).indices


def average_precision(ranked: Tensor, num_classes: int) -> Tensor:
    """Average precision of each ranking, were its query of class c.

    Args:
        ranked: (b, n) int64 labels in order of retrieval; each class occurs.
        num_classes: C.

    Returns:
        (b, C) float64.
    """
    counts = torch.bincount(ranked[0], minlength=num_classes)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    within = torch.arange(ranked.shape[1], device=ranked.device) - starts + 1
    precision = within / (grouped_ranks(ranked) + 1).double()
    owner = torch.repeat_interleave(torch.arange(num_classes, device=ranked.device), counts)
    total = precision.new_zeros(len(ranked), num_classes)
    return total.index_add(1, owner, precision) / counts


def first_rank(ranked: Tensor, num_classes: int) -> Tensor:
    """(b, C) int64 place, from 0, of the first clip of each class."""
    counts = torch.bincount(ranked[0], minlength=num_classes)
    return grouped_ranks(ranked)[:, counts.cumsum(0) - counts]
