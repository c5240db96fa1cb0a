"""Semi-supervised evaluation: the whole network fine-tuned on a few labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.evaluators.common import train_labels
from ssl_skel.evaluators.finetuning import TrainingConfig, finetuned_scores


class SemiConfig(TrainingConfig):
    """Keys of semi-supervised evaluation, beside those of the training.

    Attributes:
        percent: Of the labels, of every class.
        draws: Draws of the labels.
    """

    percent: Annotated[float, Field(gt=0, le=100)] = 10.0
    draws: Annotated[int, Field(ge=1)] = 5


class Semi(Evaluator):
    """Fine-tuning on p % of the labels, drawn class by class, five times.

    `primary` is ``mean_top1`` over the draws, beside ``sd_top1``; ``top1`` and what is stored per clip are those
    of the first draw. The draws depend on clip names only, so they are the same for every method and seed.
    """

    name = "semi"
    needs: ClassVar[Literal["features", "encoder"]] = "encoder"
    primary = "mean_top1"
    Config = SemiConfig
    cfg: SemiConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Train once a draw, predict the test part.

        Raises:
            SkelError: If a class is absent from training, or training diverges.
        """
        labels, tops, digests = train_labels(ctx), [], []
        for number in range(self.cfg.draws):
            index = labelled(ctx.train.names, labels, self.cfg.percent, number)
            digests.append(names_sha256([ctx.train.names[int(i)] for i in index]))
            tops.append(top_k(finetuned_scores(ctx, self.cfg, labels, index, ctx.seed)))
        extra = {f"draw{number}": top for number, top in enumerate(tops)}
        return EvalResult(top=tops[0], chosen={"labels": len(index), "labels_sha256": digests}, extra=extra)

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Metrics of the first draw; mean and sd of top-1 over all."""
        every = torch.tensor([classification_metrics(top, labels, num_classes)["top1"]
                              for top in result.extra.values()], dtype=torch.float64)
        sd = {"sd_top1": float(every.std())} if len(every) > 1 else {}
        return classification_metrics(result.top, labels, num_classes) | {"mean_top1": float(every.mean())} | sd


def labelled(names: Sequence[str], labels: Tensor, percent: float, number: int) -> Tensor:
    """Draw labelled clips: p % of each class, rounded half up, at least one.

    Clips of a class are ordered by SHA-256 of ``number:name`` and the first ones taken, so a draw can be made
    again from the names, and a larger p holds the clips of a smaller one.

    Args:
        names: n clip names.
        labels: (n,) int64.
        percent: p.
        number: Of the draw.

    Returns:
        (k,) int64 positions, rising.
    """
    keys = [hashlib.sha256(f"{number}:{name}".encode()).digest() for name in names]
    taken: list[int] = []
    for label in torch.unique(labels).tolist():
        members = sorted((labels == label).nonzero().flatten().tolist(), key=keys.__getitem__)
        taken += members[:max(1, int(percent / 100 * len(members) + 0.5))]
    return torch.tensor(sorted(taken))


def names_sha256(names: Sequence[str]) -> str:
    """SHA-256 of sorted names, one a line; what a published list of labelled clips is checked against."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()
