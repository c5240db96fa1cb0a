"""Recorded numbers come out again from the exported features, with another library's classifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.predictions import read_predictions
from ssl_skel.bench.record import Record
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.run import RunOptions, run_plan
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.open import SplitView, open_split
from ssl_skel.registry import discover

Features = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rederive")
    asked = Asked(names=("random",), datasets=("synthetic/xsub",), evaluators=("linear", "knn"),
                  settings=("train.frames=12", "backbone.width=8", "backbone.dim=48"))
    plan = plan_of(asked, discover(), folder / "data")
    assert run_plan(plan, discover(), InlineExecutor, RunOptions(folder / "runs", folder / "data", threads=1)) == 0
    return folder / "runs"


@pytest.fixture(scope="module")
def view() -> SplitView:
    return open_split("synthetic", "xsub", frames=12)


def _record(out: Path, evaluator: str) -> Record:
    return next(r for r in RecordStore(out).all() if r.cell.evaluator == evaluator)


def _features(out: Path, view: SplitView) -> Features:
    files = [load_file(path)["encoder"] for path in (out / "features").glob("*/*.safetensors")]
    by_size = {len(found): found for found in files}
    return by_size[len(view.train)], by_size[len(view.test)]


def _top1(out: Path, record: Record) -> np.ndarray:
    table = read_predictions((out / record.predictions.path).read_bytes(), "predictions")
    return np.asarray(table.top)[:, 0]


@pytest.mark.oracle
def test_nearest_neighbour(out: Path, view: SplitView) -> None:
    train, test = _features(out, view)
    peer = KNeighborsClassifier(1, metric="cosine").fit(train, view.train.labels.numpy())
    record = _record(out, "knn")
    found = peer.predict(test)
    assert np.mean(found == _top1(out, record)) > 0.99  # distances that tie in float32 may fall either way
    accuracy = np.mean(found == view.test.labels.numpy())
    assert record.metrics["top1"] == pytest.approx(accuracy, abs=0.01)


@pytest.mark.oracle
def test_linear_probe(out: Path, view: SplitView) -> None:
    train, test = _features(out, view)
    record = _record(out, "linear")
    scale = StandardScaler().fit(train.astype(np.float64))
    strength = 1 / (len(train) * record.chosen["l2"])
    peer = LogisticRegression(C=strength, tol=1e-8, max_iter=5000)
    peer.fit(scale.transform(train.astype(np.float64)), view.train.labels.numpy())
    found = peer.predict(scale.transform(test.astype(np.float64)))
    assert np.mean(found == _top1(out, record)) > 0.99
    assert record.metrics["top1"] == pytest.approx(np.mean(found == view.test.labels.numpy()), abs=0.01)


def test_what_was_chosen_was_chosen_on_held_out_subjects(out: Path, view: SplitView) -> None:
    train, _ = _features(out, view)
    val, labels = view.val.numpy(), view.train.labels.numpy()
    scale = StandardScaler().fit(train[~val].astype(np.float64))
    held, fit = scale.transform(train[val].astype(np.float64)), scale.transform(train[~val].astype(np.float64))
    record = _record(out, "linear")
    chosen = record.chosen["l2"]
    strength = 1 / ((~val).sum() * chosen)
    peer = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(fit, labels[~val])
    assert peer.score(held, labels[val]) == pytest.approx(record.chosen["val_top1"], abs=0.02)


def test_the_record_counts_what_the_split_holds(out: Path, view: SplitView) -> None:
    record = _record(out, "linear")
    assert (record.n.train, record.n.val, record.n.test) == (len(view.train), int(view.val.sum()), len(view.test))
    assert torch.equal(torch.tensor(record.n.test), torch.tensor(len(_top1(out, record))))
