"""Multinomial logistic regression by preconditioned L-BFGS.

    minimise over W, b:   mean_i CE(softmax(x_i W + b), y_i) + l2 / 2 ||W||^2

which is scikit-learn's `LogisticRegression(C=1 / (n l2))`. Four things make it fast; none moves the minimum.
The features are rotated once onto their principal axes (the penalty is blind to a rotation), where the
diagonal of the Hessian is a good initial metric for L-BFGS. The logits of a search direction are computed
once, so a trial step costs no matrix product. The line search looks at slopes only, which stay exact in
float32 where differences of the loss have drowned. A path of penalties starts each fit where the last ones
point to.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_skel.errors import Diverged

HISTORY = 10
MAX_ITERATIONS = 2000
ROUNDING = 1e-5
"""Largest entry of the gradient that will do when the iterations are used up: where classes are all but separated the
loss, and with it the tolerance, falls below what float32 can reach."""
MAX_TRIALS = 40
SLOPE = 0.3
"""A step will do where the slope along it has fallen to this share; finer costs trials but no products."""


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """A converged fit.

    Attributes:
        weight: (D, C); zero for a class absent from the labels.
        bias: (C,); minus infinity for a class absent from the labels.
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
        features: (n, D) standardised, float32 or float64; the fit computes in that precision.
        labels: (n,) int64 in [0, C).
        num_classes: C. Classes absent from the labels take no part in the fit.
        tol: Largest entry of the gradient at convergence, as a share of the loss where that is below 1.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, tol: float = 1e-7) -> None:
        self.num_classes, self.tol = num_classes, tol
        self.classes = torch.unique(labels)
        self.target = torch.searchsorted(self.classes, labels)
        self.rows = torch.arange(len(labels), device=labels.device)
        self.axes = principal_axes(features)
        ones = features.new_ones(len(features), 1)
        self.design = torch.cat([features @ self.axes, ones], dim=1)
        self.square = self.design.square()

    def path(self, penalties: Sequence[float]) -> Iterator[LogisticFit]:
        """Fit at each penalty in turn (distinct, from strong to weak), each from where the last two point to.

        The minimum moves smoothly with the logarithm of the penalty.
        """
        minima: list[Tensor] = []
        start = self._encode(None)
        for i, l2 in enumerate(penalties):
            if i >= 2:
                ratio = math.log(l2 / penalties[i - 1]) / math.log(penalties[i - 1] / penalties[i - 2])
                start = minima[-1] + min(ratio, 2.0) * (minima[-1] - minima[-2])
            start, loss, iterations = self._minimise(start, l2)
            minima = [*minima[-1:], start]
            yield self._decode(start, loss, iterations)

    def fit(self, l2: float, start: LogisticFit | None = None) -> LogisticFit:
        """Fit at one penalty, starting from another fit (also one to other clips) or from nothing."""
        return self._decode(*self._minimise(self._encode(start), l2))

    def _encode(self, start: LogisticFit | None) -> Tensor:
        """(R + 1, C') parameters on the principal axes."""
        if start is None:
            return self.design.new_zeros(self.design.shape[1], len(self.classes))
        bias = start.bias[self.classes].nan_to_num(neginf=0.0)
        weight = start.weight[:, self.classes].to(self.axes)
        return torch.cat([self.axes.T @ weight, bias[None].to(self.axes)])

    def _decode(self, theta: Tensor, loss: float, iterations: int) -> LogisticFit:
        weight = theta.new_zeros(len(self.axes), self.num_classes)
        bias = theta.new_full((self.num_classes,), -torch.inf)
        weight[:, self.classes] = self.axes @ theta[:-1]
        bias[self.classes] = theta[-1] - theta[-1].mean()
        return LogisticFit(weight, bias, loss, iterations)

    def _residual(self, logits: Tensor) -> Tensor:
        """Derivative of the summed cross-entropy by the logits, (n, C')."""
        residual = torch.softmax(logits, dim=1)
        residual[self.rows, self.target] -= 1
        return residual

    def _metric(self, logits: Tensor, penalty: Tensor) -> Tensor:
        """Inverse of the Hessian's diagonal, floored: the bias of a class never in doubt has none."""
        prob = torch.softmax(logits, dim=1)
        return 1 / (self.square.T @ (prob * (1 - prob)) / len(prob) + penalty).clamp_min(1e-6)

    def _minimise(self, theta: Tensor, l2: float) -> tuple[Tensor, float, int]:
        """Run L-BFGS from `theta` (Nocedal & Wright, algorithm 7.5)."""
        n = len(self.design)
        penalty = self.design.new_full((self.design.shape[1], 1), l2)
        penalty[-1] = 0
        logits = self.design @ theta
        gradient = self.design.T @ self._residual(logits) / n + penalty * theta
        memory = _Memory(self._metric(logits, penalty))
        for iteration in range(MAX_ITERATIONS):
            loss = torch.nn.functional.cross_entropy(logits, self.target)
            loss = loss + 0.5 * (penalty * theta.square()).sum()
            if bool(gradient.abs().max() <= self.tol * loss.clamp_max(1)):
                return theta, float(loss), iteration
            direction = -memory.apply(gradient)
            along = self.design @ direction
            fixed, grows = penalty * theta * direction, penalty * direction.square()
            line = _Line(float(fixed.sum()), float(grows.sum()), float((gradient * direction).sum()))
            step, residual = self._search(logits, along, line)
            moved = theta + step * direction
            following = self.design.T @ residual / n + penalty * moved
            if not bool(torch.isfinite(following).all()):
                break  # rounding is all that is left to follow
            memory.add(step * direction, following - gradient)
            theta, logits, gradient = moved, logits + step * along, following
        if bool(gradient.abs().max() <= ROUNDING):
            return theta, float(loss), iteration
        raise Diverged(f"logistic regression at l2 = {l2:g} did not converge in {iteration + 1} iterations "
                       f"(largest gradient {float(gradient.abs().max()):.1e})", "Use a stronger penalty.")

    def _search(self, logits: Tensor, along: Tensor, line: _Line) -> tuple[float, Tensor]:
        """Find a step at which the slope has nearly vanished, by safeguarded secants from a full step.

        The objective is convex, so its slope along a line rises and one bracket of its zero holds to the end.

        Returns:
            The step and the residual there.
        """
        low, low_slope, high, high_slope = 0.0, line.start, math.inf, math.inf
        step = 1.0
        for _ in range(MAX_TRIALS):
            residual = self._residual(logits + step * along)
            slope = float((residual * along).sum()) / len(residual) + line.fixed + step * line.grows
            if abs(slope) <= SLOPE * abs(line.start):
                break
            if slope < 0:
                low, low_slope = step, slope
            else:
                high, high_slope = step, slope
            share = 2.0 if math.isinf(high) else min(max(low_slope / (low_slope - high_slope), 0.1), 0.9)
            step = share * step if math.isinf(high) else low + share * (high - low)
        return step, residual


@dataclass(frozen=True, slots=True)
class _Line:
    """Slope of the penalty along a direction (``fixed + step * grows``) and of the objective at its start."""

    fixed: float
    grows: float
    start: float


class _Memory:
    """The inverse Hessian as L-BFGS knows it (two-loop recursion, Nocedal & Wright, algorithm 7.4)."""

    def __init__(self, metric: Tensor) -> None:
        self.metric = metric
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step and how the gradient changed over it; one lost in rounding is left out."""
        product = (step * change).sum()
        if bool(product > 0):
            self.pairs.append((step, change, 1 / product))

    def apply(self, gradient: Tensor) -> Tensor:
        """Multiply the inverse Hessian with a gradient."""
        q, weights = gradient.clone(), []
        for step, change, rho in reversed(self.pairs):
            weights.append(rho * (step * q).sum())
            q -= weights[-1] * change
        q *= self.metric
        for (step, change, rho), alpha in zip(self.pairs, reversed(weights), strict=True):
            q += (alpha - rho * (change * q).sum()) * step
        return q


def principal_axes(features: Tensor) -> Tensor:
    """Principal axes of centred features, without those that have no variance.

    Args:
        features: (n, D); fewer clips than dimensions are taken by the (n, n) Gram matrix.

    Returns:
        (D, R) orthonormal, in the features' precision (found in float64); R is the numerical rank.
    """
    exact = features.double()
    wide = len(exact) < exact.shape[1]
    power, basis = torch.linalg.eigh(exact @ exact.T if wide else exact.T @ exact)
    keep = power > power[-1].clamp_min(1e-300) * max(exact.shape) * torch.finfo(exact.dtype).eps
    basis = basis[:, keep]
    axes: Tensor = exact.T @ (basis / power[keep].sqrt()) if wide else basis
    return axes.to(features.dtype)
