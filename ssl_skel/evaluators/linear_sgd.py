"""Linear evaluation as the papers do it: one layer, SGD with momentum; honest about the learning rate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, TaskConfig
from ssl_skel.bench.metrics import top_k
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.common import ChoosingEvaluator, Problem, fuse, held_out, moments, standardise

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class LinearSGDConfig(TaskConfig):
    """Keys of the SGD probe (CrosSCLR, AimCLR and followers: SGD 0.9, no decay, 100 epochs, x 0.1 at 80).

    Attributes:
        lr: Learning rates to choose from; the papers' span 0.005 to 24.
        epochs: Of training; the last one counts.
        batch: Clips a step.
        momentum: Of SGD.
        drop_at: Share of the epochs after which the rate falls to a tenth.
    """

    lr: tuple[float, ...] = RATES
    epochs: int = 100
    batch: int = 128
    momentum: float = 0.9
    drop_at: float = 0.8


class LinearSGD(ChoosingEvaluator):
    """A linear layer by SGD on standardised features (the papers' BatchNorm without affine, MAMP).

    The rate is chosen on held-out training subjects, then the layer is trained again on the whole training part;
    the last epoch counts in both.
    """

    name = "linear-sgd"
    Config = LinearSGDConfig
    cfg: LinearSGDConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Choose the rate, train, predict the test part.

        Raises:
            SkelError: If no subject is held out, a class is absent, a feature is not finite, or no rate converges.
        """
        held_out(ctx)
        scores, chosen = fuse(ctx, lambda problem: self.solve(problem, ctx.seed))
        return EvalResult(top=top_k(scores), chosen=chosen)

    def solve(self, problem: Problem, seed: int) -> tuple[Tensor, dict[str, float]]:
        """Return the (n_test, C) logits of one problem, and the rate with its held-out accuracy."""
        lr, accuracy = self.choose_rate(problem, seed)
        logits = self.train(problem, problem.train, problem.labels, problem.test, (lr,), seed)[0]
        return logits, {"lr": lr, "val_top1": accuracy}

    def choose_rate(self, problem: Problem, seed: int) -> tuple[float, float]:
        """Choose the rate on held-out training subjects; return it with its accuracy there."""
        fitted = ~problem.val
        logits = self.train(problem, problem.train[fitted], problem.labels[fitted], problem.train[problem.val],
                            self.cfg.lr, seed)
        right = (logits.argmax(dim=2) == problem.labels[problem.val]).double().mean(dim=1)
        right = torch.where(logits.isfinite().all(dim=2).all(dim=1), right, -1.0)
        best = int(right.argmax())
        if float(right[best]) < 0:
            raise SkelError("no learning rate of the SGD probe converged", "Give smaller rates.")
        return self.cfg.lr[best], float(right[best])

    def train(self, problem: Problem, train: Tensor, labels: Tensor, other: Tensor, rates: tuple[float, ...],
              seed: int, watch: Callable[[Tensor], None] | None = None) -> Tensor:
        """Train one layer a rate, all at once, and return their logits on `other`, (rates, n, C).

        `watch` gets these logits after every epoch.
        """
        mean, scale = moments(train)
        train, other = _with_one(standardise(train, mean, scale)), _with_one(standardise(other, mean, scale))
        gen = torch.Generator().manual_seed(seed)
        rate = torch.tensor(rates, device=train.device)[:, None, None]
        weight = train.new_zeros(len(rates), train.shape[1], problem.num_classes)
        velocity = torch.zeros_like(weight)
        for epoch in range(self.cfg.epochs):
            step = rate * (0.1 if epoch >= self.cfg.drop_at * self.cfg.epochs else 1.0)
            order = torch.randperm(len(train), generator=gen).to(train.device)
            for part in torch.split(order, self.cfg.batch):
                residual = torch.softmax(train[part] @ weight, dim=2)
                residual[:, torch.arange(len(part), device=part.device), labels[part]] -= 1
                velocity = self.cfg.momentum * velocity + train[part].T @ residual / len(part)
                weight = weight - step * velocity
            if watch:
                watch(other @ weight)
        return other @ weight


def _with_one(features: Tensor) -> Tensor:
    """(n, D) -> (n, D + 1) float32 with a one, whose weight is the bias."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1).float()
