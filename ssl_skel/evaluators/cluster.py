"""Clustering: do the classes fall apart by themselves?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator, TaskConfig
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.errors import BadData
from ssl_skel.evaluators.common import train_labels, unit_streams


class ClusterConfig(TaskConfig):
    """Keys of the cluster evaluator.

    Attributes:
        starts: k-means++ starts, of which the tightest counts.
    """

    starts: int = 10


class Cluster(Evaluator):
    """k-means with as many clusters as classes.

    Clusters are found in the L2-normalised training features without labels, and test clips go to the nearest
    centre. ``nmi`` (arithmetic mean), ``ari`` and ``hungarian`` (accuracy under the best one-to-one naming of
    clusters) compare them with test labels; ``top1`` names each cluster by its most frequent training class.
    Streams are joined whatever the fusion.
    """

    name = "cluster"
    primary = "nmi"
    Config = ClusterConfig
    cfg: ClusterConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Cluster the training part, assign the test part.

        Raises:
            SkelError: If a feature is not finite or zero, or there are fewer clips than classes.
        """
        from sklearn.cluster import KMeans

        labels = train_labels(ctx)
        joined = ctx if ctx.fusion == "single" else replace(ctx, fusion="concat")
        (memory, query), = unit_streams(joined)
        if len(torch.unique(memory, dim=0)) < ctx.num_classes:
            raise BadData(f"fewer than {ctx.num_classes} training features differ", "Its encoder collapsed.")
        found = KMeans(ctx.num_classes, n_init=self.cfg.starts, random_state=ctx.seed).fit(memory.cpu().numpy())
        assigned = torch.from_numpy(found.predict(query.cpu().numpy())).long()
        counts = torch.zeros(ctx.num_classes, ctx.num_classes)
        counts.index_put_((torch.from_numpy(found.labels_).long(), labels), torch.ones(len(labels)), accumulate=True)
        return EvalResult(top=top_k(counts[assigned]), extra={"cluster": assigned})

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """``nmi``, ``ari``, ``hungarian``, and the accuracies of named clusters."""
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

        wanted, found = labels.numpy(), result.extra["cluster"].numpy()
        return {"nmi": float(normalized_mutual_info_score(wanted, found)),
                "ari": float(adjusted_rand_score(wanted, found)),
                "hungarian": hungarian_accuracy(result.extra["cluster"], labels, num_classes),
                **classification_metrics(result.top, labels, num_classes)}


def hungarian_accuracy(cluster: Tensor, labels: Tensor, num_classes: int) -> float:
    """Accuracy under the one-to-one naming of clusters that maximises it (Kuhn, 1955).

    Args:
        cluster: (n,) int64.
        labels: (n,) int64.
        num_classes: C, also the number of clusters.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((num_classes, num_classes))
    np.add.at(table, (cluster.numpy(), labels.numpy()), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(labels))
