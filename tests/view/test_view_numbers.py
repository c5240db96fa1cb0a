"""Curves, robustness and features: the numbers behind the pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from helpers.records import make_record
from ssl_skel.errors import DataMissing, UsageMistake
from ssl_skel.view import style
from ssl_skel.view.curves import draw_curves, load_curves, smoothed
from ssl_skel.view.features import Embedded, draw_features, embed, silhouettes, standardised
from ssl_skel.view.robustness import draw_robustness, gather


@given(st.lists(st.one_of(st.floats(-5, 5), st.just(float("nan"))), min_size=1, max_size=30), st.integers(1, 8))
def test_smoothing_is_the_mean_of_the_last_finite_values(values, span):
    found = smoothed(np.array(values), span)
    for at in range(len(values)):
        last = [v for v in values[max(0, at + 1 - span):at + 1] if not np.isnan(v)]
        if last:
            assert found[at] == pytest.approx(np.mean(last), abs=1e-9)
        else:
            assert np.isnan(found[at])


def run_with(tmp_path, lines, name="0123456789abcdef"):
    folder = tmp_path / "pretrain" / name
    folder.mkdir(parents=True)
    (folder / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9')
    cell = {"id": name, "plugin": "simclr", "backbone": "stgcn", "dataset": "sbu", "split": "fold1", "seed": 0}
    plan = {"suite": "x", "cells": [], "pretrainings": [cell]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    return tmp_path


def test_curves_of_an_unfinished_pretraining_are_drawn(tmp_path):
    lines = [{"step": s, "epoch": s // 4, "lr": 1e-3, "loss": 1 / s, "temporal": None if s == 2 else 0.5,
              "empty_clips": 0.0} for s in range(1, 8)]
    run = run_with(tmp_path, lines)
    (found,) = load_curves(run, ("simclr",))
    assert found.title == "simclr (stgcn) on sbu/fold1"
    assert found.note == "not finished"
    assert list(found.values) == ["loss", "temporal"]
    assert np.isnan(found.values["temporal"][1])
    with style.styled():
        axes = draw_curves([found], run).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1 / s for s in range(1, 8)]


def test_a_run_without_curves_says_so(tmp_path):
    with pytest.raises(DataMissing, match="holds no pretraining"):
        load_curves(tmp_path)
    run = run_with(tmp_path, [])
    with pytest.raises(DataMissing, match="holds no training curves"):
        load_curves(run)
    with pytest.raises(DataMissing, match="no training curves of moco"):
        load_curves(run, ("moco",))


def robust(clean, drop, **cell):
    metrics = {f"{name}/{s}/top1": clean - drop * s for name in ("noise", "view") for s in range(1, 6)}
    record, _ = make_record(evaluator="robustness", **cell)
    return record.model_copy(update={"metrics": {"top1": clean, "noise/area": 0.5, **metrics}})


def test_robustness_puts_seeds_together_and_the_best_first():
    records = [robust(0.5, 0.05, plugin="random"), robust(0.7, 0.02, seed=0), robust(0.9, 0.02, seed=1)]
    place, rows, classes = gather([*records, make_record()[0]])
    assert place == "nw-ucla/v3"
    assert classes == 8
    assert [row.name.split(",")[0] for row in rows] == ["simclr", "random"]
    assert rows[0].clean == [0.7, 0.9]
    assert set(rows[0].curves) == {"noise", "view"}
    with style.styled():
        figure = draw_robustness(place, rows, classes)
    noise = next(axes for axes in figure.axes if axes.get_title(loc="left") == "noise")
    assert noise.lines[0].get_ydata()[0] == pytest.approx(12.5)
    assert noise.lines[1].get_ydata() == pytest.approx([80, 78, 76, 74, 72, 70])
    assert [label.get_text() for label in noise.get_xticklabels()] == ["clean", "0.02", "0.05", "0.1", "0.2", "0.4"]
    assert noise.get_ylim()[1] > 80


def test_robustness_asks_which_dataset():
    with pytest.raises(DataMissing, match="no record of the robustness protocol"):
        gather([make_record()[0]])
    several = [robust(0.5, 0.05), robust(0.5, 0.05, split="v3-clean")]
    with pytest.raises(UsageMistake, match=r"nw-ucla/v3, nw-ucla/v3-clean. Choose one with -d"):
        gather(several)
    assert gather(several, "nw-ucla/v3-clean")[0] == "nw-ucla/v3-clean"
    with pytest.raises(UsageMistake):
        gather(several, "sbu/fold1")


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = standardised(rng.normal(size=(60, 5)) + 9 * np.eye(3, 5)[labels])
    groups = {"class": labels, "subject": rng.integers(0, 4, 60), "view": np.zeros(60, int)}
    return Embedded("made up", ("joint",), "test", features, groups, ("a", "b$x$", "c"))


def test_silhouettes_are_those_of_the_features(blobs):
    found = silhouettes(blobs.features, blobs.groups)
    assert found["class"] == pytest.approx(silhouette_score(blobs.features, blobs.groups["class"]))
    assert found["class"] > 0.3 > found["subject"]
    assert "view" not in found


def test_standardised_columns():
    found = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert found.tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_an_embedding_is_the_same_twice_and_keeps_groups_apart(blobs, method):
    plane = embed(blobs.features, method)
    assert plane.shape == (60, 2)
    assert np.array_equal(plane, embed(blobs.features, method))
    assert silhouette_score(plane, blobs.groups["class"]) > 0.4


def test_features_are_drawn_by_colour_and_marker(blobs):
    with style.styled():
        figure, scores = draw_features(blobs, "pca", "class")
        axes = figure.axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", r"b\$x\$", "c"]
        assert len({path.vertices.tobytes() for points in axes.collections for path in points.get_paths()}) == 3
    assert scores.keys() == {"class", "subject"}
    tiny = Embedded("x", ("j",), "test", blobs.features[:2], blobs.groups, ("a",))
    with pytest.raises(UsageMistake, match="too few"):
        draw_features(tiny, "pca", "class")


def test_a_hundred_categories_have_a_hundred_looks():
    assert len({style.category(number) for number in range(100)}) == 100
