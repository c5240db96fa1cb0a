"""Semi-supervised evaluation: the whole network fine-tuned on a few labels."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.data.label_sets import labelled, names_sha256
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
    of the first draw. The draws depend on clip names only, so they are the same for every method and seed; where a
    file of label sets is there (see `ssl_skel.data.label_sets`), they are read from it and the record names it.
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
        files = set()
        for number in range(self.cfg.draws):
            index, file = self._draw(ctx, labels, number)
            files.add(file)
            digests.append(names_sha256([ctx.train.names[int(i)] for i in index]))
            tops.append(top_k(finetuned_scores(ctx, self.cfg, labels, index, ctx.seed)))
        extra = {f"draw{number}": top for number, top in enumerate(tops)}
        chosen = {"labels": len(index), "labels_sha256": digests} | _named(files)
        return EvalResult(top=tops[0], chosen=chosen, extra=extra)

    def _draw(self, ctx: EvalContext, labels: Tensor, number: int) -> tuple[Tensor, str]:
        """Labelled clips of one draw, and the digest of the file that they were read from, if there is one."""
        if ctx.label_sets is not None:
            index = ctx.label_sets.index(ctx.train.names, self.cfg.percent, number)
            if index is not None:
                return index, ctx.label_sets.file_sha256
        return labelled(ctx.train.names, labels, self.cfg.percent, number), ""

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Metrics of the first draw; mean and sd of top-1 over all."""
        every = torch.tensor([classification_metrics(top, labels, num_classes)["top1"]
                              for top in result.extra.values()], dtype=torch.float64)
        sd = {"sd_top1": float(every.std())} if len(every) > 1 else {}
        return classification_metrics(result.top, labels, num_classes) | {"mean_top1": float(every.mean())} | sd


def _named(files: set[str]) -> dict[str, str]:
    """Digest of the file from which all draws were read, for the record; nothing where one was made anew."""
    return {} if "" in files else {"labels_file_sha256": files.pop()}
