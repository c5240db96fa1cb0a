"""The same cell gives the same bits on a CPU, on one thread and on two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny import environment, results
from ssl_skel.api import Unit
from ssl_skel.bench.plan import PlanRequest, make_plan
from ssl_skel.bench.run import RunOptions
from ssl_skel.bench.store import RecordStore
from ssl_skel.bench.worker import run_unit
from ssl_skel.nn import fast
from ssl_skel.registry import discover
from ssl_skel.runtime import make_deterministic
from ssl_skel.schema import Suite, SuiteEntry


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_cell(plugin: str, out: Path, threads: int) -> dict[str, Any]:
    """Pretrain a plugin in its tiny configuration for three steps, and evaluate it; the record."""
    catalogue = discover()
    card = catalogue.get("plugins", plugin).card
    assert card is not None
    tiny = card.tiny
    entry = SuiteEntry(plugin=plugin, config=tiny.config, train={**tiny.train, "epochs": 1, "max_steps": 3},
                       backbone=tiny.backbone)
    suite = Suite(title="x", datasets=("synthetic/xsub",), evaluators=("knn",), entries=(entry,), fusions=("concat",))
    plan = make_plan(PlanRequest(suite, "custom", out / "data", "fp32"), catalogue)
    RecordStore(out).create()
    options = RunOptions(out, out / "data", device="cpu", threads=threads).for_units("custom")
    for kind, cell in (("pretrain", plan.pretrainings[0]), ("evaluate", plan.evaluations[-1])):
        unit = Unit(cell.id, kind, cell.model_dump(mode="json"), {**options, "threads": threads})  # type: ignore[arg-type]
        ended = run_unit(unit, lambda event: None, threading.Event())
        assert ended.status == "ok", ended
    (record,) = results(out).values()
    return record


@pytest.mark.slow
@pytest.mark.parametrize(("plugin", "compiled"), [
    ("colorization", True), ("colorization", False), ("simclr", True), ("mamp", True), ("byol", True),
    ("vicreg", True), ("dino", True), ("reconstruct", True)])
def test_a_cell_is_the_same_bits_again_and_on_two_threads(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: str, compiled: bool) -> None:
    if plugin == "colorization" and compiled and not fast.available():
        pytest.skip("numba is not installed")
    monkeypatch.setenv("SSL_SKEL_FAST", str(int(compiled)))
    once, again, two = (run_cell(plugin, tmp_path / name, threads)
                        for name, threads in (("once", 1), ("again", 1), ("two", 2)))
    assert once == again == two  # digests of weights, predictions and all metrics
    assert once["digests"]["encoder"]


def test_cuda_is_deterministic_unless_asked_otherwise() -> None:
    """What can be seen of it without a device: the settings that it makes, in a process of its own."""
    code = ("import json, os, torch; from ssl_skel.runtime import make_deterministic as make\n"
            "torch.backends.cudnn.benchmark = True\n"
            "def told(): return [torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,\n"
            "                    torch.is_deterministic_algorithms_warn_only_enabled(),\n"
            "                    os.environ.get('CUBLAS_WORKSPACE_CONFIG')]\n"
            "make(torch.device('cpu')); first = told()\n"
            "make(torch.device('cuda')); print(json.dumps([first, told()]))\n")
    env = {key: value for key, value in environment().items() if key != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert json.loads(done.stdout) == [[False, True, False, None], [True, False, True, ":4096:8"]]


@pytest.mark.gpu
def test_a_cell_is_the_same_bits_again_on_cuda(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    make_deterministic(torch.device("cuda"))
    gen = torch.Generator(device="cuda")
    found = []
    for _ in range(2):
        gen.manual_seed(0)
        values = torch.randn(4096, 64, generator=gen, device="cuda", requires_grad=True)
        index = torch.randint(0, 64, (100_000,), generator=gen, device="cuda")
        values[index % 4096].square().sum().backward()
        found.append(values.grad)
    assert torch.equal(found[0], found[1])
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]
