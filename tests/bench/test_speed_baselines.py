"""The baselines' speed comparison: both sides do the same work, and what differs is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ssl_skel.bench import speed_baselines
from ssl_skel.bench.speed import SPEEDS, measure
from ssl_skel.errors import ContractFailed, UsageMistake

KEYS = {"what", "ours_s", "peer_s", "ratio", "cpu_ratio", "ours_peak_mb", "peer_peak_mb", "parts", "machine", "size"}
TINY: dict[str, dict[str, Any]] = {
    "moco": {"width": 4, "dim": 16, "frames": 8}, "byol": {"width": 4, "dim": 16, "frames": 8},
    "mamp": {"dim": 32, "depth": 1, "heads": 2, "frames": 8}, "bigru": {"hidden": 8, "layers": 2, "frames": 4}}


@pytest.mark.parametrize("persons", [1, 2])
@pytest.mark.parametrize("what", TINY)
def test_both_sides_agree_and_are_timed(what: str, persons: int) -> None:
    assert what in SPEEDS
    got = getattr(speed_baselines, what)(batch=4, persons=persons, steps=2, repeats=1, **TINY[what])
    assert set(got) == KEYS
    assert got["what"] == what
    assert got["ratio"] == pytest.approx(got["peer_s"] / got["ours_s"])
    assert got["parts"]["difference"] < 1e-4
    assert got["parts"]["ours_clips_per_s"] == pytest.approx(8 / got["ours_s"])
    assert got["size"] == [4, TINY[what]["frames"], persons, 2]


def test_our_side_runs_in_bf16() -> None:
    got = speed_baselines.moco(batch=4, steps=1, repeats=1, precision="bf16", **TINY["moco"])
    assert got["parts"]["precision"] == "bf16"


def test_other_numbers_are_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContractFailed, match="moco: the two sides differ"):
        speed_baselines._difference("moco", torch.ones(3), torch.tensor([1.0, 1.0, 1.01]))
    with pytest.raises(ContractFailed):
        speed_baselines._difference("moco", torch.full((3,), torch.nan), torch.ones(3))


def test_most_clips_of_two_persons_hold_one() -> None:
    size = speed_baselines.Size(10, 4, 2, 1, 1, "fp32", {})
    present = speed_baselines._clips(size).valid.flatten(2).any(2)
    assert present[:, 0].all()
    assert present[:, 1].sum() == 2
    assert speed_baselines._clips(size, whole=True).valid.all()


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(UsageMistake, match="precision"):
        speed_baselines.moco(precision="fp8")
    with pytest.raises(UsageMistake, match="two clips"):
        speed_baselines.byol(batch=1)
    with pytest.raises(UsageMistake, match="no multiple of a token's 4"):
        speed_baselines.mamp(frames=6)
    with pytest.raises(UsageMistake, match="takes no --points"):
        measure("moco", {"points": 3})
