import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.bench.metrics import bootstrap_ci, classification_metrics, top_k
from ssl_skel.errors import SkelError


@pytest.mark.oracle
@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 12))
def test_metrics_equal_torchmetrics(seed, n, classes):
    from torchmetrics.functional.classification import multiclass_accuracy

    gen = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(n, classes, generator=gen), torch.randint(classes, (n,), generator=gen)
    got = classification_metrics(top_k(scores), labels, classes)
    assert got["top1"] == pytest.approx(float(multiclass_accuracy(scores, labels, classes, average="micro")))
    present = labels.unique()
    each = multiclass_accuracy(scores, labels, classes, average="none")
    assert got["mean_class"] == pytest.approx(float(each[present].mean()), abs=1e-6)
    if classes > 5:
        want = multiclass_accuracy(scores, labels, classes, average="micro", top_k=5)
        assert got["top5"] == pytest.approx(float(want))
    else:
        assert "top5" not in got


def test_mean_class_is_over_present_classes():
    top = torch.tensor([[0], [0], [0], [1]])
    assert classification_metrics(top, torch.tensor([0, 0, 1, 1]), 3) == {"top1": 0.75, "mean_class": 0.75}
    other = classification_metrics(top, torch.tensor([0, 1, 1, 1]), 3)
    assert other["mean_class"] == pytest.approx((1 + 1 / 3) / 2)


def test_equal_scores_go_to_the_lower_class():
    assert top_k(torch.tensor([[0.0, 1.0, 1.0, 0.0]])).tolist() == [[1, 2, 0, 3]]


def test_bootstrap_equals_resampling_clips():
    correct = torch.arange(200) % 3 == 0
    index = np.random.default_rng(5).integers(200, size=(20000, 200))
    low, high = np.quantile(correct.numpy()[index].mean(1), (0.025, 0.975))
    assert bootstrap_ci(correct, seed=0, draws=20000) == pytest.approx((low, high), abs=0.006)
    assert bootstrap_ci(correct, seed=3) == bootstrap_ci(correct, seed=3)


@pytest.mark.parametrize("labels", [torch.empty(0, dtype=torch.int64), torch.tensor([1, 2])])
def test_nothing_to_compare(labels):
    with pytest.raises(SkelError):
        classification_metrics(torch.zeros(0 if len(labels) == 0 else 1, 1, dtype=torch.int64), labels, 3)
