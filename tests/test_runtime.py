"""What the runtime measures of its own process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.tiny import environment
from ssl_skel.runtime import peak_mb, peak_resident_mb, reset_peak

CHILD = "from ssl_skel.runtime import peak_resident_mb; print(peak_resident_mb())"


def child_peak() -> float:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, env=environment())
    return float(done.stdout)


def test_a_worker_does_not_report_the_memory_of_its_parent() -> None:
    before = peak_resident_mb()
    held = np.ones(250_000_000)  # 2 GB, eight times a worker's imports
    assert peak_resident_mb() >= max(before, 2000)
    assert child_peak() < 1000
    assert held[-1] == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a process has one peak")
def test_cells_that_share_a_process_have_peaks_of_their_own() -> None:
    held = np.ones(100_000_000)
    before = peak_mb(torch.device("cpu"))
    del held
    reset_peak(torch.device("cpu"))
    assert peak_mb(torch.device("cpu")) < before - 700
