"""The table of backbones: counted parameters and operations against closed forms and the published sizes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from ssl_skel.bench.backbone_table import backbone_table
from ssl_skel.cli.plugin import backbones
from ssl_skel.data.layouts import get_layout
from ssl_skel.errors import UnknownName
from ssl_skel.registry import discover

NTU = get_layout("kinect_v2_25")


def test_operations_of_the_bigru_are_those_of_its_products() -> None:
    frames, inputs, hidden = 4, 75, 1024
    weights = 2 * 3 * hidden * (inputs + hidden + 2 * (2 * hidden + hidden))  # both directions, three layers
    (row,) = backbone_table(discover(), NTU, frames, batch=1, repeats=1, names=["bigru"])
    assert row.gflops * 1e9 == pytest.approx(2 * frames * weights, rel=0.01)
    biases = 2 * 3 * 2 * 3 * hidden
    assert row.parameters == weights + biases + 2 * inputs
    assert row.dim == 2 * hidden
    assert row.clips_per_s > 0


def test_products_of_the_clouds_are_counted() -> None:
    frames = 4
    points = frames * 25
    small, large = (backbone_table(discover(), NTU, t, batch=1, repeats=1, names=["dgcnn"])[0] for t in (4, 8))
    head = 2 * points * 512 * 1024
    assert small.gflops * 1e9 > head
    # the search of neighbours grows with the square of the points, the rest with the points
    assert 2 * small.gflops < large.gflops < 4 * small.gflops


def test_the_transformer_has_the_published_size() -> None:
    (row,) = backbone_table(discover(), NTU, 120, batch=1, repeats=1, names=["transformer"])
    block = 12 * 256 * 256 + 13 * 256  # attention 4 d^2, perceptron 8 d^2, biases and two normalisations
    assert row.parameters == 8 * block + (12 + 1) * 256 + 25 * 256 + 2 * 256
    tokens = 30 * 25
    products = 2 * tokens * (8 * 12 * 256 * 256 + 12 * 256)
    attention = 8 * 2 * 2 * tokens * tokens * 256
    assert row.gflops * 1e9 == pytest.approx(products + attention, rel=0.01)


def test_clips_that_a_backbone_refuses_are_said() -> None:
    (row,) = backbone_table(discover(), get_layout("nite_15"), 1, names=["dgcnn"])
    assert "20 neighbours among the 15 points" in row.refused
    assert row.parameters == 0


def test_the_command_prints_a_table_and_json() -> None:
    size = ["pointmlp", "--layout", "nite_15", "--frames", "2", "--batch", "1"]
    shown = CliRunner().invoke(backbones, size)
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines()[3].startswith("pointmlp")
    (row,) = json.loads(CliRunner().invoke(backbones, [*size, "--json"]).output)
    assert set(row) == {"name", "version", "dim", "parameters", "gflops", "clips_per_s", "refused"}
    refused = CliRunner().invoke(backbones, ["dgcnn", "--layout", "nite_15", "--frames", "1"])
    assert "refused: k = 20" in refused.output
    with pytest.raises(UnknownName):
        backbone_table(discover(), NTU, names=["dgcn"])
