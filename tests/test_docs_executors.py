"""The page on executors: its example runs, and its table and keys are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from helpers.tiny import Workshop, environment, results
from ssl_skel.bench.executors.ray import RayConfig
from ssl_skel.bench.executors.slurm import SlurmConfig
from ssl_skel.registry import discover

PAGE = (Path(__file__).parents[1] / "docs" / "executors.md").read_text(encoding="utf-8")
LOCAL = '["sh", "-c", "exec sh -c \\"$1\\""]'
"""Stands for ssh: drops the host and runs the line here."""


def test_the_example_runs_a_plan(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 40
    (entry,) = re.findall(r"executors:\n +(ssh: .*)\n", PAGE)
    shop = Workshop(tmp_path, ["good"], executors=yaml.safe_load(entry))
    shop.plugin("bad", "os._exit(3)")
    (shop.root / "ssh_executor.py").write_text(code)
    known = environment()
    done = shop.bench_run("-p", "good", "-p", "bad", "-d", "tiny/xsub", "-e", "knn", "--executor", "ssh",
                          "--executor-set", "hosts=[one, two]", "--executor-set", f"shell={LOCAL}", "--threads", "1",
                          env=known | {"PYTHONPATH": f"{shop.root}:{known['PYTHONPATH']}"})
    assert done.returncode == 1, done.stderr
    assert [record["cell"]["plugin"] for record in results(shop.out).values()] == ["good"]
    assert "ended by itself with exit code 3" in done.stdout
    quiet = Workshop.__new__(Workshop)
    quiet.root, quiet.out = shop.root, tmp_path / "quiet"
    assert quiet.run_here(quiet.plan("good"), threads=1) == 0
    assert results(quiet.out) == results(shop.out)


def test_every_executor_and_key_is_on_the_page() -> None:
    for name in discover().names("executors"):
        assert f"| `{name}`" in PAGE
    for key in (*SlurmConfig.model_fields, *RayConfig.model_fields):
        assert f"`{key}`" in PAGE, key
