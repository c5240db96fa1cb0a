"""Pictures of a finished run: a tiny pretraining of the reference method, its features, and a painting of a clip."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ssl_skel import checkpoint
from ssl_skel.api import Unit
from ssl_skel.bench.cell import build_task, run_pretraining
from ssl_skel.bench.plan import PlanRequest, make_plan
from ssl_skel.cli.main import cli
from ssl_skel.data.open import open_split
from ssl_skel.errors import SkelError, UnknownName
from ssl_skel.registry import discover
from ssl_skel.schema import Suite, SuiteEntry
from ssl_skel.view import painter, style
from ssl_skel.view.features import load_features
from ssl_skel.view.repaint import draw_repaint
from ssl_skel.view.runs import choose_pretraining, find_pretrainings
from ssl_skel.view.scene import load_batch, make_scene

TRAIN = {"epochs": 1, "max_steps": 3, "batch": 16, "frames": 6}
SUITE = Suite(title="tiny", datasets=("synthetic/xsub",), evaluators=("knn",), train=TRAIN, entries=(
    SuiteEntry(plugin="colorization", config={"grid_side": 6, "decoder_hidden": 16},
               backbone={"k": 3, "widths": [8, 8, 8, 16], "dim": 16}),
    SuiteEntry(plugin="random", backbone={"width": 4, "dim": 8})))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("view") / "runs"
    out.mkdir()
    plan = make_plan(PlanRequest(SUITE, "tiny", out, "fp32"), discover())
    assert len(plan.pretrainings) == 2, plan.refused
    for cell in plan.pretrainings:
        options = {"out": str(out), "data_root": str(out), "suite": "tiny", "device": "cpu"}
        unit = Unit(cell.id, "pretrain", cell.model_dump(mode="json"), options)
        run_pretraining(unit, lambda event: None, threading.Event())
    return out


@pytest.fixture(scope="module")
def view():
    return open_split("synthetic", "xsub", frames=6)


def invoke(*words):
    return CliRunner().invoke(cli, [*map(str, words)])


def test_a_pretraining_is_chosen_by_name_or_id(run):
    card = choose_pretraining(run, "colorization")
    assert choose_pretraining(run, "colorization:dgcnn").id == choose_pretraining(run, card.id[:6]).id == card.id
    assert len(find_pretrainings(run)) == 2
    with pytest.raises(SkelError, match=r"2 pretrainings .* are meant. Choose one by its id"):
        choose_pretraining(run)
    with pytest.raises(SkelError, match=r"no pretraining 'moco'. It holds"):
        choose_pretraining(run, "moco")


def test_features_are_those_of_the_encoders(run, tmp_path):
    card = choose_pretraining(run, "colorization")
    found = load_features(run, card, tmp_path, limit=20)
    assert found.features.shape == (20, 32)
    assert found.streams == ("temporal", "spatial")
    assert np.allclose(found.features.mean(axis=0), 0, atol=1e-9)
    assert load_features(run, card, tmp_path, limit=9, part="train", streams=("spatial",)).features.shape == (9, 16)
    with pytest.raises(UnknownName, match="unknown encoder 'person'"):
        load_features(run, card, tmp_path, streams=("person",))


def test_features_and_curves_from_the_command_line(run, tmp_path):
    done = invoke("view", "features", "colorization", "--run", run, "--method", "pca", "--limit", 30,
                  "--out", tmp_path / "f.svg")
    assert done.exit_code == 0, done.output
    assert "silhouette by class:" in done.output
    assert f"wrote {tmp_path / 'f.svg'}" in done.output
    done = invoke("view", "curves", "--run", run, "--out", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "c.png").stat().st_size > 5000


def weights(encoders):
    return [p.detach().clone() for encoder in encoders.values() for p in encoder.state_dict().values()]


def test_frozen_encoders_stay_and_the_decoder_learns(run, view):
    task = painter.frozen_task(run, choose_pretraining(run, "colorization"), view, {"mask": "joint"})
    before, told = weights(task.encoders()), []
    state = torch.random.get_rng_state()
    painter.train(task, view.train.clips, 40, 0, True, lambda step, loss: told.append(loss))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, weights(task.encoders()), strict=True))
    assert np.mean(told[-8:]) < 0.9 * np.mean(told[:8])
    batch = load_batch(view.dataset, 4, frames=6)
    views, painted = painter.paint(task, batch, 0)
    assert [one.name for one in painted] == ["temporal", "spatial"]
    assert painted[0].cloud.shape == (36, 6)
    assert bool((views.valid & ~views.visible).any())
    scene = make_scene("synthetic", view.dataset, 4, batch)
    with style.styled():
        note = ("frozen encoders of colorization (dgcnn) on synthetic/xsub, seed 0, 40 epochs; a decoder trained "
                "for 300 steps on 1,020 training clips, and so on and so forth")
        figure = draw_repaint(scene, views, painted, task.cfg, note)
        figure.canvas.draw()
        assert all(text.get_window_extent().x1 <= figure.bbox.width for text in figure.texts)
    shown = [axes.get_title(loc="left") for axes in figure.axes]
    assert shown[3] == "Target: temporal"
    assert shown[1].endswith("% hidden")
    assert f"distance {painted[0].distance:.2f}" in shown[2]


def test_other_methods_and_other_data_are_refused(run, view, tmp_path):
    with pytest.raises(SkelError, match="is of random, which repaints nothing"):
        painter.frozen_task(run, choose_pretraining(run, "random"), view, {})
    done = invoke("view", "repaint", "synthetic-2p", 0, "--run", run, "--out", tmp_path / "r.png")
    assert isinstance(done.exception, SystemExit)
    assert "saw synthetic, not synthetic-2p" in done.output


def test_repaint_without_a_run_needs_nothing(tmp_path):
    done = invoke("view", "repaint", "synthetic", 0, "--steps", 0, "--out", tmp_path / "r.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.png").stat().st_size > 5000


def test_an_unfinished_pretraining_paints_with_its_own_decoders(run, view, tmp_path):
    cell = choose_pretraining(run, "colorization").cell
    folder = tmp_path / "pretrain" / cell.id
    folder.mkdir(parents=True)
    plan = {"suite": "x", "cells": [], "pretrainings": [cell.model_dump(mode="json")]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert painter.find_unfinished(tmp_path, "colorization") is None
    weights_now = build_task(discover(), cell, view.layout).state_dict()
    left = {name: value + 1 if value.is_floating_point() else value for name, value in weights_now.items()}
    checkpoint.save(folder, {"owner": cell.id, "step": 2, "task": left})
    found = painter.find_unfinished(tmp_path, cell.id[:5])
    assert found is not None
    task = painter.resumed_task(*found, view, {"mask": "frame"})
    assert all(torch.equal(left[name], value) for name, value in task.state_dict().items())
    done = invoke("view", "repaint", "synthetic", 0, "--run", tmp_path, "--mask", "joint", "--out", tmp_path / "r.svg")
    assert done.exit_code == 0, done.output
