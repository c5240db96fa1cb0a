"""Speed of the linear probe and of k-NN beside scikit-learn, at the size of NTU60 cross-subject."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_skel.bench.timing import compare
from ssl_skel.errors import ContractFailed
from ssl_skel.evaluators.common import moments, standardise
from ssl_skel.evaluators.knn import KNN, KNNConfig
from ssl_skel.evaluators.linear import PATH_TOL, PENALTIES
from ssl_skel.evaluators.softmax import LogisticRegression

TRAIN, TEST, DIM, CLASSES = 40091, 16487, 1024, 60


def synthetic_features(n: int, dim: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw features as correlated as an encoder's.

    Rectified, with a mean of their own and a variance of the k-th latent axis of 1 / k^1.5. Of 1,024 axes, 3 of
    standardised ones hold half of the variance and 51 hold 90 %; 1,020 clips of NW-UCLA through an untrained
    DGCNN need 2 and 14. Classes overlap: a probe gets most clips right, not all.

    Returns:
        (n, dim) float32 and (n,) int64 labels.
    """
    fixed, gen = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    axis = torch.arange(1, dim + 1, dtype=torch.float32)
    scale = axis**-0.75
    mix = torch.randn(dim, dim, generator=fixed) * (scale / torch.linalg.vector_norm(scale))[:, None]
    centres = 0.25 * torch.randn(classes, dim, generator=fixed) * axis**-0.25
    mean = 3 + torch.randn(dim, generator=fixed)
    labels = torch.randint(classes, (n,), generator=gen)
    latent = centres[labels] + torch.randn(n, dim, generator=gen)
    return torch.relu(latent @ mix + mean), labels


def linear_probe(train: int = TRAIN, dim: int = DIM, classes: int = CLASSES, repeats: int = 1) -> dict[str, Any]:
    """Time the whole path of penalties against scikit-learn's `LogisticRegression` over the same path.

    Both get standardised float32 features; scikit-learn also starts each fit from the last.

    Raises:
        ContractFailed: If our loss is above scikit-learn's at any penalty.
    """
    from sklearn.linear_model import LogisticRegression as Peer

    features, labels = synthetic_features(train, dim, classes)
    features = standardise(features, *moments(features)).float()

    def ours() -> list[float]:
        problem = LogisticRegression(features, labels, classes, tol=PATH_TOL)
        return [_loss(features, labels, fit.weight, fit.bias, l2)
                for l2, fit in zip(PENALTIES, problem.path(PENALTIES), strict=True)]

    def peer() -> list[float]:
        losses = []
        model = Peer(warm_start=True, max_iter=10_000)
        for l2 in PENALTIES:
            model.set_params(C=1 / (train * l2)).fit(features.numpy(), labels.numpy())
            weight, bias = torch.from_numpy(model.coef_.T), torch.from_numpy(model.intercept_)
            losses.append(_loss(features, labels, weight, bias, l2))
        return losses

    return compare("linear-probe", ours, peer, _same_loss, repeats) | {"size": [train, dim, classes]}


def _loss(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, l2: float) -> float:
    logits = features @ weight.to(features) + bias.to(features)
    return float(torch.nn.functional.cross_entropy(logits, labels) + 0.5 * l2 * weight.square().sum())


def _same_loss(ours: list[float], peer: list[float]) -> dict[str, Any]:
    excess = max(a / b - 1 for a, b in zip(ours, peer, strict=True))
    if excess > 1e-4:
        raise ContractFailed(f"linear probe: our loss is {excess:.1e} above scikit-learn's")
    return {"loss_ours": ours, "loss_peer": peer, "worst_excess": excess}


def knn(train: int = TRAIN, test: int = TEST, dim: int = DIM, classes: int = CLASSES,
        repeats: int = 1) -> dict[str, Any]:
    """Time 1-NN and the weighted vote of 20 against one brute-force search for 20 by scikit-learn.

    Raises:
        ContractFailed: If the nearest clips' classes differ for more than one clip in a thousand (float32 ties).
    """
    from sklearn.neighbors import NearestNeighbors

    features, labels = synthetic_features(train + test, dim, classes)
    features = torch.nn.functional.normalize(features, dim=1)
    memory, query, known = features[:train], features[train:], labels[:train]

    def ours() -> Tensor:
        return KNN(KNNConfig()).rank([(memory, query)], known, classes)[0][:, 0]

    def peer() -> Tensor:
        search = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute").fit(memory.numpy())
        distance, index = search.kneighbors(query.numpy())
        votes = np.zeros((test, classes))
        np.add.at(votes, (np.arange(test)[:, None], known.numpy()[index]), np.exp(-distance / 0.1))
        return known[torch.from_numpy(index[:, 0])]

    return compare("knn", ours, peer, _same_class, repeats) | {"size": [train, test, dim, classes]}


def _same_class(ours: Tensor, peer: Tensor) -> dict[str, Any]:
    differ = float((ours != peer).double().mean())
    if differ > 1e-3:
        raise ContractFailed(f"k-NN: {differ:.2%} of the nearest clips' classes differ from scikit-learn's")
    return {"differ": differ}
