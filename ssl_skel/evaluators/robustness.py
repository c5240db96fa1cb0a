"""Robustness: a frozen probe trained on clean data meets corrupted test clips."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, TaskConfig
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.errors import UnknownName
from ssl_skel.evaluators.common import ChoosingEvaluator
from ssl_skel.evaluators.corruptions import CORRUPTIONS
from ssl_skel.evaluators.frozen import FrozenProbe
from ssl_skel.evaluators.linear import PENALTIES
from ssl_skel.seed import generator


class RobustnessConfig(TaskConfig):
    """Keys of the robustness evaluator.

    Attributes:
        corruptions: Names to run; ``person`` is left out where the dataset has one person.
        l2: Penalties of the probe to choose from.
    """

    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    l2: tuple[float, ...] = PENALTIES


class Robustness(ChoosingEvaluator):
    """Accuracy under each corruption at five severities; clips are corrupted after preprocessing.

    For each corruption ``<name>/<severity>/top1``; ``<name>/area``, the mean over severities 0 (clean) to 5 by
    the trapezoidal rule; ``<name>/relative_drop``, the share of the clean accuracy that is lost on average over
    severities 1 to 5. `primary` is ``corrupted_top1``, the mean over all corruptions and severities.
    """

    name = "robustness"
    needs: ClassVar[Literal["features", "encoder"]] = "encoder"
    primary = "corrupted_top1"
    Config = RobustnessConfig
    cfg: RobustnessConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Fit on clean training features, predict the corrupted test part.

        Raises:
            SkelError: As the linear probe does, or for an unknown corruption.
        """
        for name in self.cfg.corruptions:
            if name not in CORRUPTIONS:
                raise UnknownName("corruption", name, CORRUPTIONS)
        probe = FrozenProbe(ctx, self.cfg.l2)
        persons = ctx.test_clips.layout.persons if ctx.test_clips is not None else 1
        extra = {}
        for name in self.cfg.corruptions:
            if name == "person" and persons == 1:
                continue
            corrupt, sizes = CORRUPTIONS[name]
            for severity, size in enumerate(sizes, start=1):
                gen = generator(ctx.seed, "robustness", name, severity, device=ctx.device)
                scores = probe.changed(partial(corrupt, size=size, gen=gen))
                extra[f"{name}/{severity}"] = scores.argmax(dim=1, keepdim=True).cpu()
        return EvalResult(top=top_k(probe.scores(ctx.test.streams)), chosen=probe.chosen, extra=extra)

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Clean metrics, the curve of each corruption, its area and relative drop."""
        metrics = classification_metrics(result.top, labels, num_classes)
        curves: dict[str, list[float]] = {}
        for key, top in result.extra.items():
            accuracy = float((top[:, 0] == labels).double().mean())
            metrics[f"{key}/top1"] = accuracy
            curves.setdefault(key.split("/")[0], []).append(accuracy)
        for name, curve in curves.items():
            metrics |= {f"{name}/{key}": value for key, value in summary(metrics["top1"], curve).items()}
        if curves:
            metrics["corrupted_top1"] = sum(map(sum, curves.values())) / sum(map(len, curves.values()))
        return metrics


def summary(clean: float, curve: list[float]) -> dict[str, float]:
    """Sum a curve up.

    Args:
        clean: Accuracy at severity 0.
        curve: Accuracies at severities 1, 2, ...

    Returns:
        ``area`` under the curve from severity 0, over its width, and ``relative_drop`` (0 where clean is 0).
    """
    points = [clean, *curve]
    area = sum((a + b) / 2 for a, b in pairwise(points)) / len(curve)
    mean = sum(curve) / len(curve)
    return {"area": area, "relative_drop": (clean - mean) / clean if clean > 0 else 0.0}
