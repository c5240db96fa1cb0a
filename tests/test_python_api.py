"""The names of the package: lazy, typed, and with the numbers of the command line."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_skel
from helpers.tiny import TinyNet, Workshop, environment, results
from ssl_skel.api import Backbone, Features
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.knn import KNN, KNNConfig
from ssl_skel.nn.views.modality import MODALITIES

SETTINGS = {"train.epochs": 1, "train.max_steps": 2, "train.batch": 9, "train.frames": 4,
            "streams": ("joint", "bone")}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def ran(shop: Workshop) -> ssl_skel.BenchResult:
    return ssl_skel.bench(plugins=["simclr"], backbones=["tiny"], datasets=["tiny/xsub"], seeds=[3], device="cpu",
                          settings=SETTINGS, out=shop.out, plugin_paths=[shop.root], quiet=True)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = """
        import sys, ssl_skel
        assert set(ssl_skel.__all__) <= set(dir(ssl_skel))
        print({"torch", "numpy", "sklearn", "pydantic"} & set(sys.modules), end=" ")
        import ssl_skel.cli.export
        print({"torch", "sklearn"} & set(sys.modules))
    """
    code = textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.strip() == "set() set()"


def test_every_public_name_is_there_and_documented() -> None:
    for name in ssl_skel.__all__:
        value = getattr(ssl_skel, name)
        assert name == "__version__" or (value.__doc__ or "").strip()
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        ssl_skel.evalute  # noqa: B018


def test_bench_leaves_what_the_command_leaves(shop: Workshop, ran: ssl_skel.BenchResult, tmp_path: Path) -> None:
    assert ran.code == 0
    assert not ran.failures
    assert [record.id for record in ran.records] == [cell.id for cell in ran.plan.evaluations]
    assert {path.name for path in ran.boards} >= {"index.html", "board.json"}
    sets = [part for key in ("train.epochs=1", "train.max_steps=2", "train.batch=9", "train.frames=4",
                             "streams=[joint,bone]") for part in ("--set", key)]
    shop.out, before = tmp_path, shop.out
    done = shop.bench_run("-p", "simclr", "-b", "tiny", "-d", "tiny/xsub", "-s", "3", "--executor", "inline", *sets)
    shop.out = before
    assert done.returncode == 0, done.stderr
    assert results(tmp_path) == results(before)


def test_evaluate_gives_the_numbers_of_the_records(shop: Workshop, ran: ssl_skel.BenchResult) -> None:
    folder = shop.out / "pretrain" / ran.plan.pretrainings[0].id
    data = ssl_skel.load_dataset("tiny/xsub", plugins=[str(shop.root)])
    for record in ran.records:
        streams = record.cell.streams.split("+")
        found = ssl_skel.evaluate(folder, data, [record.cell.evaluator], streams=streams, seed=3, device="cpu",
                                  fusion="scores" if record.cell.fusion == "scores" else "concat",
                                  plugins=[str(shop.root)])[record.cell.evaluator]
        assert dict(found.metrics) == record.metrics
        assert dict(found.ci95) == record.ci95
        assert dict(found.ci95_subjects) == record.ci95_subjects
        assert found.chosen == record.chosen
        assert found.primary == record.primary
        assert len(found.names) == len(found.labels) == len(found.top) == record.n.test
    assert {len(record.cell.streams.split("+")) for record in ran.records} == {1, len(MODALITIES) - 1}


def test_a_network_of_ones_own_is_evaluated_and_left_as_it_was(shop: Workshop) -> None:
    data = ssl_skel.load_dataset("tiny", "xsub", plugins=[str(shop.root)])
    network = TinyNet(TinyNet.Config(), data.layout).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = ssl_skel.evaluate(network, data, ["knn", KNN(KNNConfig(k=3))], frames=4, device="cpu")
    assert list(found) == ["knn"]
    assert "k3_top1" in found["knn"].metrics
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    two = ssl_skel.evaluate({"a": network, "b": network}, data, ["knn"], frames=4, device="cpu", fusion="scores")
    one = ssl_skel.evaluate(network, data, ["knn"], frames=4, device="cpu")
    assert two["knn"].metrics == one["knn"].metrics


def test_encoders_that_need_clips_get_them(shop: Workshop) -> None:
    class Mean(Backbone):
        dim = 45

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def forward(self, xyz: torch.Tensor, valid: torch.Tensor, layout: object) -> Features:
            return Features(xyz.mean((1, 2)).flatten(1))

    data = ssl_skel.load_dataset("tiny", frames=4, plugins=[str(shop.root)])
    found = ssl_skel.evaluate(Mean(), data, ["early"], frames=4, device="cpu")["early"]
    assert 0 <= found.metrics["top1"] <= 1


def test_a_dataset_as_arrays(shop: Workshop) -> None:
    data = ssl_skel.load_dataset("synthetic-3p")
    arrays = data.test.arrays()
    assert len(arrays) == len(data.test) == len(data.test.names) == len(data.test.labels)
    assert {array.shape[2:] for array in arrays} == {(15, 3)}
    assert max(len(array) for array in arrays) == 3
    assert any(np.isnan(array).any() for array in arrays)
    assert all(array.dtype == np.float32 and np.isfinite(array).any() for array in arrays)


@pytest.mark.parametrize(("call", "problem"), [
    (lambda: ssl_skel.load_dataset("syntetic"), "Did you mean 'synthetic'"),
    (lambda: ssl_skel.load_dataset("synthetic/xsup"), "Did you mean 'xsub'"),
    (lambda: ssl_skel.load_dataset("synthetic/xsub", "xview"), "name two splits"),
    (lambda: ssl_skel.load_dataset("nw-ucla", data_root="nowhere"), "not prepared in nowhere"),
    (lambda: ssl_skel.load_dataset("synthetic", device="tpu"), "is no device"),
    (lambda: ssl_skel.evaluate("nowhere", "synthetic"), "holds no encoder"),
    (lambda: ssl_skel.evaluate(3, "synthetic"), "int is no encoder"),  # type: ignore[arg-type]
    (lambda: ssl_skel.evaluate(ssl_skel.untrained_encoder(), "synthetic"), "takes kinect_v2_25, synthetic has"),
    (lambda: ssl_skel.evaluate(ssl_skel.untrained_encoder(layout="kinect_v1_20"), "synthetic", ["linea"]),
     "Did you mean 'linear'"),
    (lambda: ssl_skel.untrained_encoder("stgnc"), "Did you mean 'stgcn'"),
    (lambda: ssl_skel.untrained_encoder("stgcn", config={"widht": 3}), "Did you mean 'width'"),
    (lambda: ssl_skel.untrained_encoder(preprocessing="none"), "unknown preprocessing"),
    (lambda: ssl_skel.bench(), "nothing to run"),
    (lambda: ssl_skel.bench("smok"), "Did you mean 'smoke'"),
    (lambda: ssl_skel.bench("smoke", settings={"train.epoch": 1}, quiet=True), "Did you mean 'epochs'"),
])
def test_a_mistake_is_one_line(call: object, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SkelError, match=problem) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in caught.value.message
    assert not list(tmp_path.iterdir())
