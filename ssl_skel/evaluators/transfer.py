"""Transfer: pretrained on one dataset, fine-tuned and linearly probed on another."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.evaluators.common import ChoosingEvaluator, train_labels
from ssl_skel.evaluators.finetuning import TrainingConfig, finetuned_scores
from ssl_skel.evaluators.frozen import FrozenProbe
from ssl_skel.evaluators.linear import PENALTIES

FROZEN = "linear"


class TransferConfig(TrainingConfig):
    """Keys of the fine-tuning, and of the probe beside it.

    Attributes:
        l2: Penalties of the probe to choose from.
    """

    l2: tuple[float, ...] = PENALTIES


class Transfer(ChoosingEvaluator):
    """All weights trained on all labels of another dataset (CMD, MAMP), and a linear probe on the frozen ones.

    ``top1`` and its like are those of the fine-tuned network after the last epoch, ``linear_top1`` and its like those
    of the frozen probe. What pretraining brings is the difference to the same rows of ``random``.
    """

    name = "transfer"
    needs: ClassVar[Literal["features", "encoder"]] = "encoder"
    across = True
    Config = TransferConfig
    cfg: TransferConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Probe the frozen encoders, then train them; predict the test part with both.

        Raises:
            SkelError: As the linear probe does, or if fine-tuning diverges.
        """
        labels, probe = train_labels(ctx), FrozenProbe(ctx, self.cfg.l2)
        frozen = top_k(probe.scores(ctx.test.streams))
        tuned = finetuned_scores(ctx, self.cfg, labels, torch.arange(len(labels)), ctx.seed)
        return EvalResult(top=top_k(tuned), chosen={FROZEN: probe.chosen}, extra={FROZEN: frozen})

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Metrics of the fine-tuned network, and with the prefix ``linear_`` those of the frozen probe."""
        frozen = classification_metrics(result.extra[FROZEN], labels, num_classes)
        return (classification_metrics(result.top, labels, num_classes)
                | {f"{FROZEN}_{name}": value for name, value in frozen.items()})
