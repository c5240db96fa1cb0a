"""Multinomial logistic regression by preconditioned L-BFGS.

    minimise over W, b:   mean_i CE(softmax(x_i W + b), y_i) + l2 / 2 ||W||^2

which is scikit-learn's `LogisticRegression(C=1 / (n l2))`. Three things make it fast, none changes the minimum:
the features are rotated once onto their principal axes (the penalty is blind to a rotation), where the diagonal
of the Hessian is a good initial metric for L-BFGS; the logits of a search direction are computed once, so a
trial step costs no matrix product; and a path of penalties starts each fit from the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_skel.errors import Diverged

HISTORY = 10
MAX_ITERATIONS = 2000
ARMIJO = 1e-4


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """A converged fit.

    Attributes:
        weight: (D, C) float64; zero columns do not occur, a class absent from the labels has zeros.
        bias: (C,) float64; minus infinity for a class absent from the labels.
        loss: Value of the objective.
        iterations: L-BFGS iterations that it took.
    """

    weight: Tensor
    bias: Tensor
    loss: float
    iterations: int

    def logits(self, features: Tensor) -> Tensor:
        """Return (n, C) logits of (n, D) features."""
        return features @ self.weight + self.bias


class LogisticRegression:
    """A data set made ready for fits at several penalties.

    Args:
        features: (n, D) float64, standardised.
        labels: (n,) int64 in [0, C).
        num_classes: C. Classes absent from the labels take no part in the fit.
        tol: Largest entry of the gradient at convergence.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, tol: float = 1e-6) -> None:
        self.num_classes, self.tol = num_classes, tol
        self.classes = torch.unique(labels)
        self.target = torch.searchsorted(self.classes, labels)
        self.axes, rotated = _principal(features)
        self.design = torch.cat([rotated, rotated.new_ones(len(rotated), 1)], dim=1)
        self.square = self.design.square()

    def path(self, penalties: Iterable[float], start: LogisticFit | None = None) -> Iterator[LogisticFit]:
        """Fit at each penalty in turn (best from strong to weak), starting each from the last."""
        theta = self._encode(start)
        for l2 in penalties:
            theta, loss, iterations = self._minimise(theta, l2)
            yield self._decode(theta, loss, iterations)

    def fit(self, l2: float, start: LogisticFit | None = None) -> LogisticFit:
        """Fit at one penalty."""
        return next(self.path([l2], start))

    def _encode(self, start: LogisticFit | None) -> Tensor:
        """(R + 1, C') parameters on the principal axes."""
        if start is None:
            return self.design.new_zeros(self.design.shape[1], len(self.classes))
        bias = start.bias[self.classes].nan_to_num(neginf=0.0)
        return torch.cat([self.axes.T @ start.weight[:, self.classes], bias[None]])

    def _decode(self, theta: Tensor, loss: float, iterations: int) -> LogisticFit:
        weight = theta.new_zeros(len(self.axes), self.num_classes)
        bias = theta.new_full((self.num_classes,), -torch.inf)
        weight[:, self.classes] = self.axes @ theta[:-1]
        bias[self.classes] = theta[-1] - theta[-1].mean()
        return LogisticFit(weight, bias, loss, iterations)

    def _value(self, logits: Tensor, theta: Tensor, penalty: Tensor) -> float:
        fit = torch.nn.functional.cross_entropy(logits, self.target)
        return float(fit + 0.5 * (penalty * theta.square()).sum())

    def _gradient(self, prob: Tensor, theta: Tensor, penalty: Tensor) -> Tensor:
        residual = prob.clone()
        residual[torch.arange(len(residual), device=residual.device), self.target] -= 1
        return self.design.T @ residual / len(residual) + penalty * theta

    def _metric(self, prob: Tensor, penalty: Tensor) -> Tensor:
        """Inverse of the Hessian's diagonal, floored: it vanishes for the bias of a class that is never in doubt."""
        curvature = self.square.T @ (prob * (1 - prob)) / len(prob) + penalty
        return 1 / curvature.clamp_min(1e-8)

    def _minimise(self, theta: Tensor, l2: float) -> tuple[Tensor, float, int]:
        """Run L-BFGS from `theta`; the objective is convex, so a step that decreases enough needs no other test."""
        penalty = self.design.new_full((self.design.shape[1], 1), l2)
        penalty[-1] = 0
        logits = self.design @ theta
        loss = self._value(logits, theta, penalty)
        prob = torch.softmax(logits, dim=1)
        gradient, memory = self._gradient(prob, theta, penalty), _Memory(self._metric(prob, penalty))
        for iteration in range(MAX_ITERATIONS):
            if float(gradient.abs().max()) <= self.tol:
                return theta, loss, iteration
            direction = -memory.apply(gradient)
            along = self.design @ direction
            slope = float((gradient * direction).sum())
            step, loss = self._search(logits, along, theta, direction, penalty, loss, slope)
            theta, logits = theta + step * direction, logits + step * along
            previous, gradient = gradient, self._gradient(torch.softmax(logits, dim=1), theta, penalty)
            memory.add(step * direction, gradient - previous)
        raise Diverged(f"logistic regression at l2 = {l2:g} did not converge in {MAX_ITERATIONS} iterations "
                       f"(largest gradient {float(gradient.abs().max()):.1e})", "Use a stronger penalty.")

    def _search(self, logits: Tensor, along: Tensor, theta: Tensor, direction: Tensor, penalty: Tensor,
                loss: float, slope: float) -> tuple[float, float]:
        """Backtrack from a full step by quadratic interpolation until the loss falls enough (Armijo)."""
        step = 1.0
        slack = 1e-14 * abs(loss)
        while True:
            trial = self._value(logits + step * along, theta + step * direction, penalty)
            if trial <= loss + ARMIJO * step * slope + slack or step < 1e-10:
                return step, trial
            best = -0.5 * slope * step**2 / (trial - loss - slope * step)
            step = min(max(best, 0.1 * step), 0.5 * step)


class _Memory:
    """The inverse Hessian as L-BFGS knows it (two-loop recursion, Nocedal & Wright, algorithm 7.4)."""

    def __init__(self, metric: Tensor) -> None:
        self.metric = metric
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)

    def add(self, step: Tensor, change: Tensor) -> None:
        self.pairs.append((step, change, 1 / (step * change).sum().clamp_min(1e-300)))

    def apply(self, gradient: Tensor) -> Tensor:
        q, weights = gradient.clone(), []
        for step, change, rho in reversed(self.pairs):
            weights.append(rho * (step * q).sum())
            q -= weights[-1] * change
        q = self._scale() * self.metric * q
        for (step, change, rho), alpha in zip(self.pairs, reversed(weights), strict=True):
            q += (alpha - rho * (change * q).sum()) * step
        return q

    def _scale(self) -> Tensor:
        """Length of the metric along the last step, as in the usual choice of the initial matrix."""
        if not self.pairs:
            return self.metric.new_ones(())
        step, change, _ = self.pairs[-1]
        return (step * change).sum() / (change * self.metric * change).sum()


def _principal(features: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate features onto their principal axes, leaving out those without variance.

    Args:
        features: (n, D).

    Returns:
        Axes (D, R), orthonormal, and rotated features (n, R); R is the numerical rank.
    """
    n, d = features.shape
    wide = n < d
    gram = features @ features.T if wide else features.T @ features
    power, basis = torch.linalg.eigh(gram)
    keep = power > power[-1].clamp_min(1e-300) * max(n, d) * torch.finfo(features.dtype).eps
    basis, root = basis[:, keep], power[keep].sqrt()
    if wide:
        return features.T @ (basis / root), basis * root
    return basis, features @ basis
