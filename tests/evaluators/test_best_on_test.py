"""The diagnostic: what choosing the epoch on the test set adds, against a count by hand."""

from __future__ import annotations

import pytest
import torch

from helpers.evaluation import context
from ssl_skel.api import EvalResult
from ssl_skel.evaluators.best_on_test import BestOnTest
from ssl_skel.evaluators.linear_sgd import LinearSGD

LABELS = torch.tensor([0, 1, 2, 0])


def scores(epochs: list[list[list[int]]], last: list[int], rate: int = 0) -> dict[str, float]:
    """`epochs` is (rates, epochs, n)."""
    made = torch.tensor(epochs, dtype=torch.int16).permute(2, 0, 1)
    top = torch.stack([torch.tensor(last), (torch.tensor(last) + 1) % 3], dim=1)
    return BestOnTest(BestOnTest.Config()).score(EvalResult(top, {"rate": rate}, {"epochs": made}), LABELS, 3)


def test_inflation_by_hand() -> None:
    """Rate 0: two, then three of four right, at last two; rate 1 has four right once."""
    found = scores([[[0, 1, 0, 1], [0, 1, 2, 1], [0, 1, 0, 1]], [[1, 1, 1, 1], [0, 1, 2, 0], [0, 0, 0, 0]]],
                   [0, 1, 0, 1])
    assert found["top1"] == pytest.approx(2 / 4)
    assert (found["best_epoch"], found["inflation"]) == (pytest.approx(3 / 4), pytest.approx(1 / 4))
    assert (found["best_epoch_and_rate"], found["inflation_with_rate"]) == (1.0, pytest.approx(1 / 2))


def test_the_honest_number_is_that_of_the_probe() -> None:
    ctx, labels = context()
    config = {"lr": (0.003, 0.03, 0.3), "epochs": 12}
    plain, diagnostic = (cls(cls.Config(**config)) for cls in (LinearSGD, BestOnTest))
    one, two = plain.evaluate(ctx), diagnostic.evaluate(ctx)
    assert torch.equal(one.top[:, 0], two.top[:, 0])
    assert two.chosen["lr"] == one.chosen["lr"]
    assert two.extra["epochs"].shape == (len(labels), 3, 12)
    found = diagnostic.score(two, labels, ctx.num_classes)
    assert found["inflation_with_rate"] >= found["inflation"] >= 0
    assert found["best_epoch"] == pytest.approx(found["top1"] + found["inflation"])


def test_it_says_that_it_is_no_result() -> None:
    assert BestOnTest.selection == "best-on-test"
    assert LinearSGD.selection == "last"
