"""Arithmetic against hand counts, energy against made-up counters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_skel.bench.costs import EnergyMeter, forward_flops
from ssl_skel.data.open import open_split
from ssl_skel.nn.dgcnn import DGCNN
from ssl_skel.nn.stgcn import STGCN

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips():
    return open_split("synthetic", "xsub", frames=8).pretraining()


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(60, 7)

    def forward(self, xyz, valid, layout):
        return self.layer(xyz.flatten(3)).sum()


def test_a_linear_layer_by_hand(clips):
    """One person, eight frames, 20 joints of three coordinates: 8 x 60 x 7 products, each with an addition."""
    assert forward_flops({"a": Linear()}, clips.clips, 8) == {"a": 2 * 8 * 60 * 7}


@pytest.mark.parametrize("fast", ["0", "1"])
def test_a_dgcnn_by_hand(clips, fast, monkeypatch):
    """Every layer's product on its points; neighbour search on coordinates and on each layer's features."""
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    widths, dim, points = (8, 8, 16), 32, 8 * 20
    net = DGCNN(DGCNN.Config(k=4, widths=widths, dim=dim), clips.layout).eval()
    inputs = (3, *widths[:-1])
    layers = sum(2 * points * a * 2 * b for a, b in zip(inputs, widths))
    last = 2 * points * sum(widths) * dim
    found = forward_flops({"a": net}, clips.clips, 8)["a"]
    search = found - layers - last
    assert 0 < search <= sum(2 * points * points * (a + 1) for a in inputs) + 2 * points * dim * 3


def test_more_frames_cost_more(clips):
    net = {"a": STGCN(STGCN.Config(width=4, dim=16), clips.layout).eval()}
    assert forward_flops(net, clips.clips, 16)["a"] > 1.8 * forward_flops(net, clips.clips, 8)["a"]


def counters(root: Path, **joules: float) -> None:
    for name, value in joules.items():
        folder = root / name.replace("_", ":").replace("rapl", "intel-rapl")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "energy_uj").write_text(f"{int(value * 1e6)}\n")
        (folder / "max_energy_range_uj").write_text("1000000000\n")


def test_joules_of_all_packages_but_not_of_their_parts(tmp_path):
    counters(tmp_path, rapl_0=10, rapl_1=990, rapl_0_0=5)
    meter = EnergyMeter(CPU, tmp_path)
    counters(tmp_path, rapl_0=17.5, rapl_1=4, rapl_0_0=500)
    assert meter.read() == pytest.approx(7.5 + 14)  # the second began anew at 1,000 J


def test_no_counter_no_number(tmp_path):
    assert EnergyMeter(CPU, tmp_path).read() is None
    counters(tmp_path, rapl_0=1)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("not a number")
    assert EnergyMeter(CPU, tmp_path).read() is None


def test_a_gpu_without_its_library_has_no_number(monkeypatch, tmp_path):
    monkeypatch.setattr("ssl_skel.bench.costs.NVML", "libno-such-thing.so")
    counters(tmp_path, rapl_0=1)
    assert EnergyMeter(torch.device("cuda", 0), tmp_path).read() is None
