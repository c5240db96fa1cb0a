from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from helpers.records import make_record
from ssl_skel import ids
from ssl_skel.bench import provenance

ROOT = Path(__file__).parents[2]


def test_an_environment_is_plain_data_that_fits_a_record() -> None:
    found = provenance.environment("cpu")
    assert json.loads(ids.canonical(found)) == json.loads(json.dumps(found))
    assert found["cores"] >= 1
    assert found["threads"] >= 1
    assert {"torch", "numpy"} <= set(found["packages"])
    assert make_record(0.5, env=found)[0].env == found


def test_the_environment_is_described_without_torch() -> None:
    code = ("import sys; from ssl_skel.bench.provenance import environment; environment(); "
            "print([m for m in ('torch', 'scipy', 'pandas', 'sklearn', 'timm') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "3"})
    assert done.stdout.strip() == "[]"


def test_threads_are_what_was_asked_for_where_torch_is_not_in_use() -> None:
    code = "from ssl_skel.bench.provenance import environment; print(environment()['threads'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "3"})
    assert done.stdout.strip() == "3"


def test_the_commands_that_make_a_number_again() -> None:
    record, _ = make_record(0.5, suite="made-up; rm -rf", seed=3, env={
        "packages": {"torch": "2.4.0", "numpy": "$(touch x)"}, "git": {"commit": "abc; ls", "dirty": False}})
    checkout, install, run = provenance.reproduce(record)
    assert shlex.split(checkout) == ["git", "checkout", "abc; ls"]
    assert shlex.split(install) == ["pip", "install", ".", "torch==2.4.0", "numpy==$(touch x)"]
    assert shlex.split(run) == ["ssl-skel", "bench", "run", "--suite", "made-up; rm -rf", "-p", "simclr", "-b",
                                "st-gcn", "-d", "nw-ucla/v3", "-e", "linear", "-s", "3"]


def test_a_record_of_an_odd_machine_still_says_something() -> None:
    record, _ = make_record(0.5, env={"packages": ["torch"], "git": "none"})
    assert len(provenance.reproduce(record)) == 2
