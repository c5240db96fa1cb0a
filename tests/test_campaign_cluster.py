"""The same records on a real Slurm and a real Ray cluster, disturbed or not; `tests/campaign_cluster.py` does more."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaign_cluster import ClusterCampaign, Ray, Slurm
from helpers.tiny import Workshop, results
from ssl_skel.bench.store import RecordStore

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]


def slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    done = subprocess.run(["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, timeout=30,
                          check=False)
    return done.returncode == 0 and bool(done.stdout.strip())


slurm = pytest.mark.skipif(not (slurm_answers() and importlib.util.find_spec("submitit")),
                           reason="no Slurm answers here, or submitit is not installed")
ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def ray_cluster() -> Iterator[Ray]:
    cluster = Ray()
    yield cluster
    cluster.close()


def finished(campaign: ClusterCampaign, rounds: int) -> dict[str, Any]:
    campaign.run(rounds)
    report = campaign.report()
    assert not report["problems"]
    assert report["hits"] == rounds
    return report


@slurm
def test_jobs_that_are_cancelled_and_requeued_leave_the_same_records(tmp_path: Path) -> None:
    finished(ClusterCampaign(tmp_path, "slurm", Slurm(), seed=1), rounds=2)


@ray
def test_cells_of_a_killed_node_leave_the_same_records(tmp_path: Path, ray_cluster: Ray) -> None:
    assert finished(ClusterCampaign(tmp_path, "ray", ray_cluster, seed=1), rounds=1)["by_kind"] == {"node killed": 1}


@slurm
def test_a_failure_on_slurm_names_the_job_and_its_logs(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, ["good"])
    shop.plugin("exits", "os._exit(3)")
    done = shop.bench_run("-p", "good", "-p", "exits", "-d", "tiny/xsub", "-e", "knn", "--executor", "slurm",
                          *(part for key in Slurm.settings for part in ("--executor-set", key)), timeout=1200)
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(results(shop.out)) == 1
    (failure,) = RecordStore(shop.out).failures()
    assert failure.status == "crashed"
    assert f"Slurm job {failure.detail['job']}" in failure.message
    assert all(Path(path).is_file() for path in failure.detail["logs"])
