"""The page on long runs: its logger logs, its table is the registry's, its variables are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from helpers.tiny import Workshop, environment
from ssl_skel import leftovers
from ssl_skel.bench import memory
from ssl_skel.registry import discover

PAGE = (Path(__file__).parents[1] / "docs" / "running.md").read_text(encoding="utf-8")


def test_the_example_is_a_logger(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shop = Workshop(tmp_path, loggers={"dashboard": {"target": "dashboard:JsonLogger"}})
    (shop.root / "dashboard.py").write_text(code)
    known = environment()
    done = shop.bench_run("-p", "tiny", "-d", "tiny/xsub", "-e", "knn", "--executor", "inline", "--logger", "dashboard",
                          "--set", "train.epochs=7", env=known | {"PYTHONPATH": f"{shop.root}:{known['PYTHONPATH']}"})
    assert done.returncode == 0, done.stderr
    assert "warning: logger" not in done.stdout
    (path,) = shop.out.glob("loggers/dashboard/*/watched.json")
    lines = [json.loads(line) for line in path.open()]
    assert [(line["run"], line["step"]) for line in lines] == [("tiny on tiny", 10), ("tiny on tiny", 20)]


def test_the_page_names_what_there_is() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE) == discover().names("loggers")
    assert set(re.findall(r"SSL_SKEL_\w+", PAGE)) == {memory.LIMIT, leftovers.LIMIT}
    assert f"({leftovers.DEFAULT_GB:g} by default)" in PAGE
