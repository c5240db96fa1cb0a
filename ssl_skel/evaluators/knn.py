"""k-nearest-neighbour classification: the training features are the memory, cosine the similarity."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator, TaskConfig
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.common import stream, stream_names, train_labels

BLOCK = 2048


class KnnConfig(TaskConfig):
    """Keys of the k-NN evaluator.

    Attributes:
        k: Neighbours of the weighted vote.
        temperature: T of the vote's weight exp(similarity / T).
    """

    k: int = 20
    temperature: float = 0.1


class Knn(Evaluator):
    """1-NN (which ranks) and the weighted vote of 20 neighbours at T = 0.1 (Wu et al., InstDisc, CVPR 2018).

    Features are only L2-normalised, as the field does (ISC, CMD, HiCo use scikit-learn's k = 1 with cosine).
    Fusion: ``concat`` joins the normalised streams, which adds up their cosines; ``scores`` adds up the class
    scores of the streams. The class score of 1-NN is the similarity of the class's nearest clip. Equally near
    clips count in the order of the training part.
    """

    name = "knn"
    Config = KnnConfig
    cfg: KnnConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Rank the classes of each test clip.

        Raises:
            SkelError: If a feature is not finite, or zero so that it has no direction.
        """
        names, labels = stream_names(ctx), train_labels(ctx).to(ctx.device)
        pairs = [(unit(stream(ctx.train, name), name).to(ctx.device),
                  unit(stream(ctx.test, name), name).to(ctx.device)) for name in names]
        if ctx.fusion != "scores":
            pairs = [(torch.cat([a for a, _ in pairs], dim=1), torch.cat([b for _, b in pairs], dim=1))]
        nearest, vote = zip(*(self.scores(memory, query, labels, ctx.num_classes) for memory, query in pairs),
                            strict=True)
        top = top_k(torch.stack(nearest).sum(dim=0))
        return EvalResult(top=top, extra={f"k{self.cfg.k}": top_k(torch.stack(vote).sum(dim=0))})

    def scores(self, memory: Tensor, query: Tensor, labels: Tensor,
               num_classes: int) -> tuple[Tensor, Tensor]:
        """Class scores of 1-NN and of the weighted vote, each (n_test, C)."""
        k = min(self.cfg.k, len(memory))
        nearest, vote = [], []
        for similarity in similarities(memory, query):
            best = similarity.new_full((len(similarity), num_classes), -torch.inf)
            nearest.append(best.scatter_reduce(1, labels.expand_as(similarity), similarity, "amax"))
            weight, index = neighbours(similarity, k)
            weight = torch.exp((weight.double() - 1) / self.cfg.temperature)
            vote.append(weight.new_zeros(len(weight), num_classes).scatter_add(1, labels[index], weight))
        return torch.cat(nearest), torch.cat(vote)

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Metrics of 1-NN, and those of the vote with the prefix ``k20_``."""
        metrics = classification_metrics(result.top, labels, num_classes)
        for name, top in result.extra.items():
            metrics |= {f"{name}_{key}": value
                        for key, value in classification_metrics(top, labels, num_classes).items()}
        return metrics


def unit(features: Tensor, name: str) -> Tensor:
    """L2-normalise (n, D) features.

    Raises:
        SkelError: If a feature vector is zero.
    """
    length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    if bool((length == 0).any()):
        raise SkelError(f"stream {name!r} has a feature vector of zero length", "Its encoder collapsed.")
    return torch.div(features, length)


def similarities(memory: Tensor, query: Tensor) -> Iterator[Tensor]:
    """Yield the cosines of blocks of queries with the whole memory, (block, n_memory) each."""
    for part in torch.split(query, BLOCK):
        yield part @ memory.T


def neighbours(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest similarities of each row and where they stand; of equal ones the first in the row.

    `topk` finds the k-th value; only rows in which that value is tied need more than it.

    Returns:
        (n, k) and (n, k) int64, by falling similarity and rising position.
    """
    value, index = similarity.topk(k, dim=1)
    tied = (similarity >= value[:, -1:]).sum(dim=1) > k
    if bool(tied.any()):
        full = torch.sort(similarity[tied], dim=1, descending=True, stable=True)
        value[tied], index[tied] = full.values[:, :k], full.indices[:, :k]
    return value, index
