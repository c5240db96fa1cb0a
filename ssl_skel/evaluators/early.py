"""Early recognition: how much of a clip must be seen?"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ssl_skel.api import Batch, EvalContext, EvalResult, TaskConfig
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.evaluators.common import ChoosingEvaluator
from ssl_skel.evaluators.frozen import FrozenProbe
from ssl_skel.evaluators.linear import PENALTIES
from ssl_skel.nn.views.clips import Clips
from ssl_skel.nn.views.temporal import resample


class EarlyConfig(TaskConfig):
    """Keys of the early evaluator.

    Attributes:
        percent: Observed parts of the clip.
        l2: Penalties of the probe to choose from.
    """

    percent: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90)
    l2: tuple[float, ...] = PENALTIES


class Early(ChoosingEvaluator):
    """Accuracy when only the first 10 % to 90 % of a test clip is observed.

    What is observed is stretched over all T frames, as a recording that ended there would be; encoder and probe
    know whole clips only. `primary` is ``area``, the mean accuracy over the observed parts and the whole clip.
    """

    name = "early"
    needs: ClassVar[Literal["features", "encoder"]] = "encoder"
    primary = "area"
    Config = EarlyConfig
    cfg: EarlyConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Fit on whole training clips, predict test clips observed in part.

        Raises:
            SkelError: As the linear probe does.
        """
        probe = FrozenProbe(ctx, self.cfg.l2)
        extra = {}
        for percent in self.cfg.percent:
            scores = probe.changed(lambda batch, part=percent / 100: observed(batch, part))  # type: ignore[misc]
            extra[f"observed/{percent}"] = scores.argmax(dim=1, keepdim=True).cpu()
        return EvalResult(top=top_k(probe.scores(ctx.test.streams)), chosen=probe.chosen, extra=extra)

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Metrics of the whole clip, ``observed/<percent>/top1``, and ``area``."""
        metrics = classification_metrics(result.top, labels, num_classes)
        curve = {f"{key}/top1": float((top[:, 0] == labels).double().mean()) for key, top in result.extra.items()}
        return metrics | curve | {"area": (sum(curve.values()) + metrics["top1"]) / (len(curve) + 1)}


def observed(batch: Batch, share: float) -> Batch:
    """Stretch the first `share` of each clip over all its frames."""
    frames = batch.xyz.shape[2]
    position = torch.linspace(0, max(share * frames - 1, 0), frames, device=batch.xyz.device, dtype=batch.xyz.dtype)
    seen = resample(Clips(batch.xyz, batch.valid), position.expand(len(batch), -1))
    return replace(batch, xyz=seen.xyz, valid=seen.valid)
