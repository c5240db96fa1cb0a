"""Linear evaluation: multinomial logistic regression on frozen, standardised features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, TaskConfig
from ssl_skel.bench.metrics import top_k
from ssl_skel.evaluators.common import ChoosingEvaluator, Problem, fuse, held_out, moments, standardise
from ssl_skel.evaluators.softmax import LogisticFit, LogisticRegression

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
PATH_TOL = 1e-4


class LinearConfig(TaskConfig):
    """Keys of the linear probe.

    Attributes:
        l2: Penalties to choose from, beside the mean cross-entropy, so they need no scaling with n.
    """

    l2: tuple[float, ...] = PENALTIES


class LinearProbe(ChoosingEvaluator):
    """Logistic regression by L-BFGS; the penalty is chosen on held-out training subjects.

    Each dimension is standardised with the moments of the part that is fitted. After choosing, the probe is
    fitted again on the whole training part. Of equally good penalties the strongest is taken. Fusion:
    ``concat`` fits one probe on all streams, ``scores`` one a stream (each with its own penalty) and adds up
    the softmax scores.
    """

    name = "linear"
    Config = LinearConfig
    cfg: LinearConfig

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Choose the penalty, fit, predict the test part.

        Raises:
            SkelError: If no subject is held out, a class is absent from training, or a feature is not finite.
        """
        held_out(ctx)
        scores, chosen = fuse(ctx, self._solve)
        return EvalResult(top=top_k(scores), chosen=chosen)

    def _solve(self, problem: Problem) -> tuple[Tensor, dict[str, float]]:
        probe, chosen = fit_probe(problem, self.cfg.l2)
        return probe.logits(problem.test), chosen


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted probe of one problem.

    Attributes:
        mean: (D,) of the training part.
        scale: (D,) of the training part.
        fit: On standardised features.
    """

    mean: Tensor
    scale: Tensor
    fit: LogisticFit

    def logits(self, features: Tensor) -> Tensor:
        """Return (n, C) logits of (n, D) features as the encoder gives them."""
        return self.fit.logits(standardise(features, self.mean, self.scale))


def fit_probe(problem: Problem, penalties: tuple[float, ...]) -> tuple[Probe, dict[str, float]]:
    """Choose the penalty on held-out subjects, then fit on the whole training part.

    Returns:
        The probe, and the penalty with its held-out accuracy.
    """
    l2, accuracy, start = choose_penalty(problem, penalties)
    mean, scale = moments(problem.train)
    train = standardise(problem.train, mean, scale)
    fit = LogisticRegression(train, problem.labels, problem.num_classes).fit(l2, start)
    return Probe(mean, scale, fit), {"l2": l2, "val_top1": accuracy}


def choose_penalty(problem: Problem, penalties: tuple[float, ...]) -> tuple[float, float, LogisticFit]:
    """Fit the whole path without the held-out subjects and take the penalty that predicts them best.

    The path is computed in float32 (twice as fast, far finer than the choice); the final fit is not.

    Returns:
        The penalty, its held-out top-1, and its fit.
    """
    fitted, held = problem.train[~problem.val], problem.train[problem.val]
    mean, scale = moments(fitted)
    fitted, held = (standardise(part, mean, scale).float() for part in (fitted, held))
    labels, target = problem.labels[~problem.val], problem.labels[problem.val]
    probe = LogisticRegression(fitted, labels, problem.num_classes, tol=PATH_TOL)
    best: tuple[float, float, LogisticFit] | None = None
    ordered = sorted(set(penalties), reverse=True)
    for l2, fit in zip(ordered, probe.path(ordered), strict=True):
        accuracy = float((fit.logits(held).argmax(dim=1) == target).double().mean())
        if best is None or accuracy > best[1]:
            best = (l2, accuracy, fit)
    assert best is not None
    return best
