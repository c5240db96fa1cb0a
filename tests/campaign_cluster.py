"""The campaign on clusters: jobs cancelled and requeued on a real Slurm, a node killed on a Ray cluster of two.

    python tests/campaign_cluster.py slurm --rounds 10
    python tests/campaign_cluster.py ray --rounds 3

Tiny cells run through the executor; at random moments a running Slurm job is cancelled or requeued, or a Ray node is
killed (and another one joins). Whenever a run has ended, the same command is started again, until all cells are
finished; then a new folder is begun. The records of every folder are compared with those of an undisturbed run in one
process, and no record may change once it was written. Prints one line of figures as JSON and ends with 1 if anything
differed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from campaign import differences, snapshot  # noqa: E402
from helpers.tiny import Workshop, environment, results  # noqa: E402

SEEDS = (0, 1)
NAP_S = 0.2
START_S = 600


def build(root: Path) -> Workshop:
    """The workshop; the same code and so the same ids in every folder."""
    shop = Workshop(root, ["base"])
    shop.plugin("alpha", train={"epochs": 10, "batch": 9, "frames": 4})
    return shop


def plan_of(shop: Workshop) -> Any:
    """Two pretrainings with an evaluation each."""
    return shop.plan("alpha", seeds=SEEDS)


def drive(mode: str, root: Path, out: Path, settings: list[str]) -> int:
    """What a user would start."""
    from ssl_skel.bench.run import RunOptions, run_plan

    shop = Workshop.__new__(Workshop)
    shop.root, shop.out = root / "workshop", out
    catalogue = shop.catalogue()
    options = RunOptions(out, shop.root / "data", (str(shop.root),), device="cpu", threads=1, checkpoint_s=0.01,
                         as_json=True, executor_settings=tuple(settings))
    return run_plan(plan_of(shop), catalogue, catalogue.load("executors", mode), options)


class Cluster(Protocol):
    """Where the cells of a campaign run, and how it is disturbed."""

    settings: list[str]

    def hit(self, rng: random.Random) -> str:
        """Disturb it once, if something runs; returns what was done, or nothing."""

    def close(self) -> None:
        """Take down what was started."""


class Slurm:
    """The Slurm of this machine: `sbatch`, `squeue`, `scancel`, `scontrol`."""

    settings = ("cpus=1", "poll_s=1", "memory_gb=2", "requeues=3")

    def __init__(self) -> None:
        from ssl_skel.bench.executors.slurm import queue_states

        if queue_states() is None:
            raise SystemExit("no Slurm answers here: start its controller, or run this where jobs are submitted")

    def hit(self, rng: random.Random) -> str:
        """Cancel or requeue a job that runs."""
        done = subprocess.run(["squeue", "--noheader", "--array", "--states=RUNNING", "--name=ssl-skel", "--format=%i"],
                              capture_output=True, text=True, check=True)
        jobs = done.stdout.split()
        if not jobs:
            return ""
        how, command = rng.choice([("cancelled", ["scancel"]), ("requeued", ["scontrol", "requeue"])])
        hit = subprocess.run([*command, rng.choice(jobs)], capture_output=True, check=False)
        return how if hit.returncode == 0 else ""

    def close(self) -> None:
        """Leave nothing in the queue."""
        subprocess.run(["scancel", "--name=ssl-skel"], check=False)


class Ray:
    """Two Ray nodes on this machine, and a head that runs nothing."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Nodes

        # Workers inherit it from their node; Ray makes them nicer than all else, which starves them on a busy machine.
        os.environ.update(environment() | {"TINY_NAP": str(NAP_S), "RAY_worker_niceness": "0"})
        self._nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._workers = [self._nodes.add_node(num_cpus=1) for _ in range(2)]
        self._nodes.wait_for_nodes()
        self.settings = [f"address={self._nodes.address}", "retries=1"]

    def hit(self, rng: random.Random) -> str:
        """Kill a node; another one joins."""
        victim = self._workers.pop(rng.randrange(len(self._workers)))
        self._nodes.remove_node(victim, allow_graceful=False)
        self._workers.append(self._nodes.add_node(num_cpus=1))
        return "node killed"

    def close(self) -> None:
        """End all nodes."""
        self._nodes.shutdown()


class ClusterCampaign:
    """Counts what is disturbed and what differs.

    Args:
        root: Folder for everything.
        mode: ``slurm`` or ``ray``.
        cluster: Is disturbed.
        seed: Of the moments and victims.
    """

    def __init__(self, root: Path, mode: str, cluster: Any, seed: int) -> None:
        self.root, self.mode, self.cluster, self.rng = root, mode, cluster, random.Random(seed)
        self.hits: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.problems: list[str] = []
        shop = build(root)
        code = shop.run_here(plan_of(shop), out=root / "undisturbed", threads=1)
        self.expected = results(root / "undisturbed")
        if code or len(self.expected) != len(SEEDS):
            raise SystemExit("the undisturbed run failed")

    def run(self, rounds: int) -> None:
        """Disturb the cluster `rounds` times."""
        while self.hits.total() < rounds:
            out = self.root / f"folder{self.figures['folders']}"
            self.figures["folders"] += 1
            seen: dict[str, tuple[int, bytes]] = {}
            while not self._start(out, rounds):
                seen = self._kept(out, seen)
            self._kept(out, seen)
            self.problems += [f"{out}: {line}" for line in differences(results(out), self.expected)]
            self.figures["records"] += len(self.expected)

    def _start(self, out: Path, rounds: int) -> bool:
        """Start the run once; returns whether everything is finished."""
        self.figures["starts"] += 1
        if self.figures["starts"] > 10 * (rounds + 1):
            last = (self.root / "log").read_text(errors="replace").splitlines()[-1:]
            raise SystemExit(f"it does not come to an end, after {self.figures['starts']} starts: {''.join(last)}")
        command = [sys.executable, __file__, self.mode, "--drive", str(self.root), str(out), *self.cluster.settings]
        with (self.root / "log").open("ab") as log, subprocess.Popen(
                command, env=environment() | {"TINY_NAP": str(NAP_S)}, stdout=log, stderr=log) as run:
            while run.poll() is None and self.hits.total() < rounds:
                before = self._checkpoints(out)
                while run.poll() is None and self._checkpoints(out) == before:
                    time.sleep(0.05)  # until a pretraining is on its way
                time.sleep(2 * self.rng.random())
                if run.poll() is None and (how := self.cluster.hit(self.rng)):
                    self.hits[how] += 1
            return run.wait(START_S) == 0

    @staticmethod
    def _checkpoints(out: Path) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in out.glob("pretrain/*/last.ckpt")}

    def _kept(self, out: Path, seen: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
        now = snapshot(out)
        self.problems += [f"{path} was changed after it was written" for path, content in seen.items()
                          if now.get(path) != content]
        return now

    def report(self) -> dict[str, Any]:
        """The figures."""
        return {"mode": self.mode, "hits": self.hits.total(), "by_kind": dict(self.hits), **self.figures,
                "problems": self.problems}


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["slurm", "ray"])
    parser.add_argument("--rounds", type=int, default=5, help="disturbances")
    parser.add_argument("--seed", type=int, default=0, help="of moments and victims")
    parser.add_argument("--folder", type=Path, help="where to work; on a cluster one that all nodes see")
    parser.add_argument("--drive", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        root, out, *settings = asked.drive
        return drive(asked.mode, Path(root), Path(out), settings)
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=asked.folder) as folder:
        began, cluster = time.monotonic(), Slurm() if asked.mode == "slurm" else Ray()
        try:
            campaign = ClusterCampaign(Path(folder), asked.mode, cluster, asked.seed)
            campaign.run(asked.rounds)
        finally:
            cluster.close()
        print(json.dumps({**campaign.report(), "seconds": round(time.monotonic() - began)}))
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
