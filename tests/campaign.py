"""The kill campaign: tiny cells under SIGKILLs of random processes, again and again, until nothing is missing.

    python tests/campaign.py --rounds 100
    python tests/campaign.py --rounds 10 --processes 2      # each pretraining under torchrun, in two processes

Every round kills one process (the run, the fork server, a cell, or torchrun's launcher and ranks) at a random moment.
Whenever a run has ended, the same command is started again, until all cells are finished; then a new folder is begun.
The records of every folder are compared with those of an undisturbed run, and no record may change once it was
written. Prints one line of figures as JSON and ends with 1 if anything differed.
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
from typing import Any, BinaryIO

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from helpers.tiny import Workshop, environment, results  # noqa: E402

PLUGINS = ("alpha", "beta")
SEEDS = (0, 1, 2)
MARK = "SSL_SKEL_CAMPAIGN"
NAP_S = 0.02
WEIGHTS = {"cell": 4, "rank": 4, "run": 1, "server": 1, "launcher": 1}
"""How often a role is chosen; a cell begins anew in milliseconds, the others import torch first."""


def build(root: Path) -> Workshop:
    """The workshop of a campaign; the same code and so the same ids in every folder."""
    shop = Workshop(root, ["base"])
    for name in PLUGINS:
        shop.plugin(name, train={"epochs": 8, "batch": 8, "frames": 4})
    return shop


def plan_of(shop: Workshop, processes: int = 1) -> Any:
    """Six pretrainings with two evaluations each; two of them where each takes several processes."""
    plugins, seeds = (PLUGINS, SEEDS) if processes == 1 else (PLUGINS[:1], SEEDS[:2])
    return shop.plan(*plugins, evaluators=["knn"], datasets=["tiny/xsub", "tiny/xsub-clean"], seeds=seeds,
                     processes=processes)


def drive(root: Path, out: Path, processes: int) -> int:
    """What a user would start: the whole run, two cells at once."""
    from ssl_skel.bench.executors.process import ProcessExecutor
    from ssl_skel.bench.run import RunOptions, run_plan

    shop = Workshop.__new__(Workshop)
    shop.root, shop.out = root / "workshop", out
    options = RunOptions(out, shop.root / "data", (str(shop.root),), device="cpu", jobs=2, threads=1, checkpoint_s=0.01,
                         as_json=True, processes=processes)
    return run_plan(plan_of(shop, processes), shop.catalogue(), ProcessExecutor, options)


def family(mark: str) -> dict[int, str]:
    """Living processes of a campaign: id -> role."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX" and "resource_tracker" not in line:
            role = next((role for word, role in _WORDS.items() if word in line), "run")
            found[int(folder.name)] = role, int(fields[1])
    roles = {}
    for pid, (role, parent) in found.items():
        child = role == "server" and found.get(parent, ("", 0))[0] == "server"
        roles[pid] = "cell" if child else role
    return roles


_WORDS = {"forkserver": "server", "ssl_skel.bench.ranks": "launcher", "ssl_skel.bench.rank\0": "rank"}


def snapshot(out: Path) -> dict[str, tuple[int, bytes]]:
    """Records and cards with their times: none of them may ever change."""
    files = [*out.glob("records/*/*/*.json"), *out.glob("pretrain/*/card.json"), *out.glob("predictions/*.csv")]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Where two results differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return [line for key in sorted({*found, *expected}) for line in differences(
            found.get(key, "absent"), expected.get(key, "absent"), f"{where}/{key}")]
    return [] if found == expected else [f"{where} is {found!r}, undisturbed {expected!r}"]


class Campaign:
    """Counts what is killed and what differs.

    Args:
        root: Folder for everything.
        seed: Of the moments and victims.
        processes: Of each pretraining.
    """

    def __init__(self, root: Path, seed: int, processes: int = 1) -> None:
        self.root, self.rng, self.processes = root, random.Random(seed), processes
        self.kills: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.problems: list[str] = []
        self.shop = build(root)
        plan = plan_of(self.shop, processes)
        with (root / "log").open("ab") as log, self._begin(root / "undisturbed", "undisturbed", log) as run:
            code = run.wait(7200)
        self.expected = results(root / "undisturbed")
        if code or set(self.expected) != {cell.id for cell in plan.evaluations}:
            raise SystemExit(f"the undisturbed run failed: {(root / 'log').read_text()}")

    def run(self, rounds: int) -> None:
        """Kill `rounds` processes."""
        while sum(self.kills.values()) < rounds:
            out = self.root / f"folder{self.figures['folders']}"
            self.figures["folders"] += 1
            self.seen: dict[str, tuple[int, bytes]] = {}
            while not self._start(out, rounds):
                pass
            self.problems += [f"{out}: {line}" for line in differences(results(out), self.expected)]
            self.figures["records"] += len(self.expected)

    def _start(self, out: Path, rounds: int) -> bool:
        """Start the run once; returns whether everything is finished."""
        mark = f"{os.getpid()}-{self.figures['starts']}"
        self.figures["starts"] += 1
        with (self.root / "log").open("ab") as log, self._begin(out, mark, log) as run:
            while run.poll() is None and sum(self.kills.values()) < rounds:
                self._kill_one(mark, run)
                self._check(out)
            code = run.wait(7200)
        began = time.monotonic()
        while alive := family(mark):
            # A fork server sees that its run is gone once it has imported torch; it works on nothing.
            if time.monotonic() - began > (60 if set(alive.values()) - {"server"} else 1800):
                self.problems.append(f"processes outlived their run: {alive}")
                break
            time.sleep(0.02)
        self._check(out)
        return code == 0

    def _begin(self, out: Path, mark: str, log: BinaryIO) -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, "--drive", str(self.root), str(out), "--processes", str(self.processes)]
        return subprocess.Popen(command, env=environment() | {MARK: mark, "TINY_NAP": str(NAP_S)}, stdout=log,
                                stderr=log)

    def _kill_one(self, mark: str, run: subprocess.Popen[bytes]) -> None:
        # Mostly while cells (or their ranks, which import torch first) are at work; sometimes while everything starts.
        patient, at_work = self.rng.random() < 0.8, "cell" if self.processes == 1 else "rank"
        while run.poll() is None and patient and at_work not in family(mark).values():
            time.sleep(0.005)
        began, wait = time.monotonic(), self.rng.choice((0.05, 0.3, 1.0, 6.0)) * self.rng.random()
        while run.poll() is None and time.monotonic() - began < wait:
            time.sleep(0.005)
        alive = sorted(family(mark).items())
        roles = sorted({role for _, role in alive})
        if not alive or run.poll() is not None:
            return
        role = self.rng.choices(roles, [WEIGHTS[role] for role in roles])[0]
        victim = self.rng.choice([pid for pid, one in alive if one == role])
        try:
            os.kill(victim, 9)
            self.kills[role] += 1
        except ProcessLookupError:
            pass

    def _check(self, out: Path) -> None:
        now = snapshot(out)
        for path, content in self.seen.items():
            if now.get(path) != content:
                self.problems.append(f"{path} was changed after it was written")
        self.seen = now

    def report(self) -> dict[str, Any]:
        """The figures."""
        return {"kills": sum(self.kills.values()), "by_role": dict(self.kills), **self.figures,
                "problems": self.problems}


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of moments and victims")
    parser.add_argument("--processes", type=int, default=1, help="of each pretraining, under torchrun")
    parser.add_argument("--drive", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        return drive(*asked.drive, asked.processes)
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        began = time.monotonic()
        campaign = Campaign(Path(folder), asked.seed, asked.processes)
        campaign.run(asked.rounds)
        print(json.dumps({**campaign.report(), "seconds": round(time.monotonic() - began)}))
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
