"""Sanity: a linear probe trained on shuffled labels, which must do no better than chance."""

from __future__ import annotations

from dataclasses import replace

import torch

from ssl_skel.api import EvalContext, EvalResult
from ssl_skel.evaluators.common import train_labels
from ssl_skel.evaluators.linear import LinearProbe


class ShuffledProbe(LinearProbe):
    """The linear probe on training labels permuted among the training clips.

    Anything clearly above chance means that test clips or labels reach the probe by another way.
    """

    name = "shuffled"

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Permute the training labels, then do as the linear probe does."""
        labels = train_labels(ctx)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(ctx.seed))
        return super().evaluate(replace(ctx, train=replace(ctx.train, labels=labels[order])))
