"""k-nearest-neighbour classification: the training features are the memory, cosine the similarity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator, TaskConfig
from ssl_skel.bench.metrics import TOP_K, classification_metrics
from ssl_skel.evaluators.common import pair_weights, train_labels, unit_streams
from ssl_skel.evaluators.search import nearest


class KNNConfig(TaskConfig):
    """Keys of the k-NN evaluator.

    Attributes:
        k: Neighbours of the weighted vote.
        temperature: T of the vote's weight exp(similarity / T).
    """

    k: int = 20
    temperature: float = 0.1


class KNN(Evaluator):
    """1-NN (which ranks) and the weighted vote of 20 neighbours at T = 0.1 (Wu et al., InstDisc, CVPR 2018).

    Features are only L2-normalised, as the field does (ISC, CMD, HiCo use scikit-learn's k = 1 with cosine).
    Fusion: ``concat`` joins the normalised streams, so that their cosines are averaged; ``scores`` adds up the
    streams' votes. Equally near clips count in the order of the training part. One neighbour names one class;
    the further places of its prediction are those of the vote.
    """

    name = "knn"
    Config = KNNConfig
    cfg: KNNConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Rank the classes of each test clip.

        Raises:
            SkelError: If a feature is not finite, or zero so that it has no direction.
        """
        labels = train_labels(ctx).to(ctx.device)
        first, vote = self.rank(unit_streams(ctx), labels, ctx.num_classes, pair_weights(ctx))
        return EvalResult(top=first, extra={f"k{self.cfg.k}": vote})

    def rank(self, streams: Sequence[tuple[Tensor, Tensor]], labels: Tensor, num_classes: int,
             weights: Sequence[float] = ()) -> tuple[Tensor, Tensor]:
        """Rank classes by one neighbour and by the vote.

        Args:
            streams: (n, D) memory and (m, D) queries of each stream, unit vectors.
            labels: (n,) int64.
            num_classes: C.
            weights: Of the streams' votes; 1 where there are none.

        Returns:
            Two (m, min(5, C)) int64 on the CPU.
        """
        one = vote = torch.zeros((), device=labels.device)
        for (memory, query), share in zip(streams, weights or [1.0] * len(streams), strict=True):
            value, index = nearest(memory, query, min(self.cfg.k, len(memory)))
            weight = share * torch.exp((value.double() - 1) / self.cfg.temperature)
            empty = weight.new_zeros(len(weight), num_classes)
            one = one + empty.scatter_add(1, labels[index[:, :1]], weight[:, :1])
            vote = vote + empty.scatter_add(1, labels[index], weight)
        by_vote = torch.sort(vote, dim=1, descending=True, stable=True).indices
        by_one = torch.sort(one.gather(1, by_vote), dim=1, descending=True, stable=True).indices
        return by_vote.gather(1, by_one)[:, :TOP_K].cpu(), by_vote[:, :TOP_K].cpu()

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """``top1`` and ``mean_class`` of 1-NN; those and ``top5`` of the vote with the prefix ``k20_``."""
        metrics = classification_metrics(result.top[:, :1], labels, num_classes)
        metrics.pop("top5", None)
        for name, top in result.extra.items():
            metrics |= {f"{name}_{key}": value
                        for key, value in classification_metrics(top, labels, num_classes).items()}
        return metrics
