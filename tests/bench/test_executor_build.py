"""Keys of executors, and what a unit gets of this machine."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ssl_skel.api import Unit
from ssl_skel.bench.executors import resources
from ssl_skel.bench.executors.build import build_executor
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.executors.resources import gpu_groups, with_threads
from ssl_skel.bench.executors.slurm import SlurmConfig
from ssl_skel.errors import UsageMistake

ASKED = {"jobs": 2, "timeout_h": None, "device": "cpu", "processes": 1, "threads": None}


class Keyed:
    Config = SlurmConfig

    def __init__(self, cfg: SlurmConfig, **asked: Any) -> None:
        self.cfg, self.asked = cfg, asked


def test_keys_are_yaml_and_a_dot_reaches_into_a_table() -> None:
    made: Any = build_executor(Keyed, ["partition=gpu", "memory_gb=1.5", "setup=[module load x]", "extra.nice=100"],
                               **ASKED)
    assert made.asked == ASKED
    assert made.cfg == SlurmConfig(partition="gpu", memory_gb=1.5, setup=("module load x",), extra={"nice": 100})


@pytest.mark.parametrize(("make", "setting", "problem"), [
    (Keyed, "partitoin=gpu", "unknown key 'partitoin'"), (Keyed, "cpus=none", "cpus"),
    (Keyed, "cpus", "is not KEY=VALUE"), (Keyed, "=1", "is not KEY=VALUE"),
    (Keyed, "extra.=1", "is not KEY=VALUE"), (Keyed, "cpus=[1", "--executor-set"),
    (InlineExecutor, "cpus=1", "this executor takes no keys")])
def test_a_wrong_key_is_one_line(make: Any, setting: str, problem: str) -> None:
    with pytest.raises(UsageMistake) as caught:
        build_executor(make, [setting], **ASKED)
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


def unit(**options: Any) -> Unit:
    return Unit("0" * 16, "pretrain", {}, options)


@pytest.mark.parametrize(("options", "slots", "threads"), [
    ({}, 1, 8), ({"processes": 2}, 1, 4), ({"processes": 2}, 2, 2), ({"threads": 3}, 4, 3), ({}, 100, 1)])
def test_threads_are_divided(options: dict[str, int], slots: int, threads: int,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cores", lambda: 8)
    assert with_threads(unit(**options), slots).options["threads"] == threads


@pytest.mark.parametrize(("device", "processes", "shown", "groups"), [
    ("auto", 1, None, [("0",), ("1",), ("2",)]), ("cuda", 2, None, [("0", "1")]),
    ("cuda", 3, "7,8,9", [("7", "8", "9")]), ("cpu", 2, None, []), ("cuda:1", 1, None, [])])
def test_gpus_are_dealt(device: str, processes: int, shown: str | None, groups: list[tuple[str, ...]],
                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert gpu_groups(device, processes) == groups


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(UsageMistake, match="this machine shows 3 GPUs"):
        gpu_groups("cuda", 4)
    with pytest.raises(UsageMistake, match="is one GPU, and a cell shall have 2"):
        gpu_groups("cuda:0", 2)
