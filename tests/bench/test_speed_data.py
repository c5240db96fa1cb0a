"""The timings of loader and store run, check that both sides do the same work, and say what they should."""

import numpy as np
import pytest

from ssl_skel.bench import speed_loader, speed_store
from ssl_skel.bench.speed import measure
from ssl_skel.errors import ContractFailed

KEYS = {"what", "ours_s", "peer_s", "ratio", "cpu_ratio", "ours_peak_mb", "peer_peak_mb", "parts", "machine"}


def test_loader():
    result = measure("loader", {"epochs": 1, "repeats": 1})
    assert set(result) >= KEYS
    assert result["parts"]["clips"] == 336
    assert result["parts"]["largest_difference"] < 1e-5


def test_loader_refuses_to_compare_different_work(monkeypatch):
    nonsense = np.zeros((8, 20, 3), np.float32)
    monkeypatch.setattr(speed_loader._PlainClips, "resample", lambda self, index, place: nonsense)
    with pytest.raises(ContractFailed, match="clips differ"):
        measure("loader", {"epochs": 1, "repeats": 1, "frames": 8})


def test_store():
    result = measure("store", {"clips": 400, "batches": 2, "batch": 16, "repeats": 1})
    assert set(result) >= KEYS
    parts = result["parts"]
    assert parts["share_of_padded"] < 0.3
    assert parts["open_mb"] < 100
    assert parts["largest_difference"] < 1e-4
    assert min(parts[f"{kind}_clips_per_s"] for kind in ("mapped", "resident", "peer")) > 0
    assert parts["mapped_clips_per_cpu_s"] > 0


def test_generated_lengths_are_those_of_ntu(tmp_path):
    made = speed_store.make_store(tmp_path, 3000)
    frames = made.index["frames"]
    assert 65 < frames.mean() < 80
    assert frames.max() <= 300
    assert 0.15 < (made.index["num_tracks"] == 2).mean() < 0.25
    made.verify()
    assert made.clip(2999).valid.all()
