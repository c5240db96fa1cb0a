import io
import json

import pytest
import torch

from ssl_skel.bench import speed_scc
from ssl_skel.bench.scaling_plot import draw
from ssl_skel.bench.scc_worker import clouds, serve
from ssl_skel.bench.speed import measure
from ssl_skel.errors import ContractFailed, UsageMistake

TINY = {"batch": 2, "points": 60, "k": 5, "threads": 1}
PARTS = {"knn", "edge_convolution", "head", "decoder", "chamfer", "backward", "optimiser"}


@pytest.fixture(scope="module")
def result():
    return measure("scc-step", TINY | {"repeats": 2, "precision": "bf16"})


def test_reports_both_sides_their_parts_and_memory(result):
    assert result["what"] == "scc-step"
    assert result["ratio"] == result["peer_s"] / result["ours_s"] > 0
    assert result["ours_peak_mb"] > 10, "the networks and Adam alone need more"
    assert result["peer_peak_mb"] > 10
    for side in ("ours", "peer"):
        assert set(result["parts"][side]) == PARTS
        assert sum(result["parts"][side].values()) == pytest.approx(1e3 * result[f"{side}_s"], rel=0.5)
    assert result["cpu_ratio"] > 0
    assert result["machine"]["threads"] == 1
    assert result["size"]["precision"] == "bf16"


def test_both_sides_start_from_the_same_loss(result):
    ours, peer = result["parts"]["first_losses"]
    assert ours == pytest.approx(peer, rel=3e-2)
    assert ours != peer, "ours ran in bfloat16"


class FakeWorker:
    """A worker whose loss differs between sides and whose time is its number of points."""

    def __init__(self, fast=True, **sizes):
        self.sizes = sizes
        self.first = {"loss": 1.0 if sizes["side"] == "ours" else 1.001}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def step(self):
        seconds = float(self.sizes["points"])
        return self.first | {"seconds": seconds, "cpu_seconds": seconds, "parts": {}}

    def peak_mb(self):
        return float(self.sizes["batch"])


def test_refuses_sides_that_do_different_work(monkeypatch):
    monkeypatch.setattr(speed_scc, "Worker", FakeWorker)
    with pytest.raises(ContractFailed, match=r"our first loss is 1, the textbook's 1\.001"):
        speed_scc.scc_step(**TINY, repeats=1)
    assert speed_scc.scc_step(**TINY, repeats=1, precision="bf16")["ratio"] == 1


def test_says_when_a_worker_dies():
    with pytest.raises(ContractFailed, match="ended with code 1"):
        speed_scc.Worker(side="ours", nonsense=1, threads=1, k=2, device="cpu")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"k": 61}, "k = 61"), ({"batch": 0}, "at least one"), ({"precision": "fp8"}, "no precision"),
     ({"repeats": 0}, "repeat"), ({"clouds": 3}, "takes no --clouds")],
)
def test_refuses_sizes_that_make_no_step(sizes, said):
    with pytest.raises(UsageMistake, match=said):
        measure("scc-step", TINY | sizes)


def test_scaling_varies_one_size_at_a_time(monkeypatch):
    monkeypatch.setattr(speed_scc, "Worker", FakeWorker)
    rows = speed_scc.scc_scaling(points=(40, 50), batches=(1,), ks=(2,), threads=1)
    assert [row["axis"] for row in rows] == ["points", "points", "batch", "k"]
    sizes = [(row["batch"], row["points"], row["k"]) for row in rows]
    assert sizes == [(8, 40, 20), (8, 50, 20), (1, 1000, 20), (8, 1000, 2)]
    assert [row["seconds"] for row in rows] == [40, 50, 1000, 1000]
    assert [row["peak_mb"] for row in rows] == [8, 8, 1, 8]


def test_scaling_says_how_memory_grows(monkeypatch, tmp_path):
    monkeypatch.setattr(speed_scc, "Worker", FakeWorker)
    result = measure("scc-scaling", {"threads": 1})
    assert result["slope"] == 0, "the stand-in's memory is its number of clouds"
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg", tmp_path / "three.png"]
    for picture in pictures:
        draw(result["rows"], picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert b">points a cloud<" in pictures[0].read_bytes()
    assert pictures[2].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageMistake, match=r"Use \.svg or \.png"):
        draw(result["rows"], tmp_path / "four.pdf")


def test_a_worker_answers_each_line_and_ends_with_its_peak():
    answers = []
    sizes = TINY | {"side": "ours", "precision": "fp32", "reduction": "max", "device": "cpu"}
    before = torch.get_num_threads()
    serve(iter(io.StringIO(json.dumps(sizes) + "\nstep\nstep\n")), answers.append)
    torch.set_num_threads(before)
    assert [set(answer) for answer in answers] == [{"loss", "seconds", "cpu_seconds", "parts"}] * 3 + [{"peak_mb"}]
    assert answers[0]["loss"] != answers[1]["loss"], "the optimiser should have moved the weights"


def test_clouds_carry_colours_that_add_up():
    cloud = clouds(2, 50)
    assert cloud.shape == (2, 50, 6)
    torch.testing.assert_close(cloud[..., 3:].sum(2), torch.ones(2, 50))
    assert torch.equal(cloud, clouds(2, 50))
