"""Diagnostic: how much a probe gains if its epoch, and its learning rate, are chosen on the test set."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.evaluators.common import held_out, problems
from ssl_skel.evaluators.linear_sgd import LinearSGD


class BestOnTest(LinearSGD):
    """The papers' SGD probe beside what is printed when its best epoch on the test set counts; never ranked.

    Predictions after every epoch are kept for every learning rate. ``top1`` is the honest number, the last epoch at
    the rate that was chosen on held-out training subjects; ``best_epoch`` the best epoch at that rate, and
    ``best_epoch_and_rate`` the best of all. `primary` is ``inflation``, ``best_epoch`` - ``top1``;
    ``inflation_with_rate`` is the same with the rate. Streams are joined whatever the fusion.
    """

    name = "best-on-test"
    primary = "inflation"
    selection: ClassVar[Literal["last", "best-on-test"]] = "best-on-test"

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Choose the rate, train at all rates, predict the test part after every epoch.

        Raises:
            SkelError: As the SGD probe does.
        """
        held_out(ctx)
        problem, = problems(ctx if ctx.fusion == "single" else replace(ctx, fusion="concat"))
        lr, accuracy = self.choose_rate(problem, ctx.seed)
        epochs: list[Tensor] = []

        def watch(logits: Tensor) -> None:
            epochs.append(logits.argmax(dim=2).T.to(torch.int16).cpu())

        logits = self.train(problem, problem.train, problem.labels, problem.test, self.cfg.lr, ctx.seed, watch)
        rate = self.cfg.lr.index(lr)
        return EvalResult(top=top_k(logits[rate]), chosen={"lr": lr, "val_top1": accuracy, "rate": rate},
                          extra={"epochs": torch.stack(epochs, dim=2)})

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Metrics of the last epoch, the best on the test labels, and what that adds."""
        metrics = classification_metrics(result.top, labels, num_classes)
        right = (result.extra["epochs"] == labels[:, None, None]).double().mean(dim=0)  # (rates, epochs)
        best, any_rate = float(right[int(result.chosen["rate"])].max()), float(right.max())
        return metrics | {"best_epoch": best, "best_epoch_and_rate": any_rate, "inflation": best - metrics["top1"],
                          "inflation_with_rate": any_rate - metrics["top1"]}
