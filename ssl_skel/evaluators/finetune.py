"""Fine-tuning: all weights, all labels; on untrained encoders it is the supervised ceiling."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from ssl_skel.api import EvalContext, EvalResult, Evaluator
from ssl_skel.bench.metrics import top_k
from ssl_skel.evaluators.common import train_labels
from ssl_skel.evaluators.finetuning import TrainingConfig, finetuned_scores


class FineTune(Evaluator):
    """The whole network trained on all labels of the training part; the last epoch counts."""

    name = "finetune"
    needs: ClassVar[Literal["features", "encoder"]] = "encoder"
    Config = TrainingConfig
    cfg: TrainingConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Train on the training part, predict the test part.

        Raises:
            SkelError: If a class is absent from training, or training diverges.
        """
        labels = train_labels(ctx)
        return EvalResult(top=top_k(finetuned_scores(ctx, self.cfg, labels, torch.arange(len(labels)), ctx.seed)))
