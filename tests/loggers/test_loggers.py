"""Loggers show what the JSON lines say, also over a resume; one that fails is warned of once and costs nothing."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.tiny import Workshop, results
from ssl_skel.curves import CurveWriter, read_curves
from ssl_skel.loggers.csv_file import CSVLogger
from ssl_skel.loggers.fan import Loggers

BROKEN = {"target": "loggers.test_loggers:Broken"}


class Broken:
    """Fails at its second step."""

    def __init__(self, folder: Path, about: Mapping[str, Any], step: int) -> None:
        assert folder.is_dir()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step == 2:
            raise ValueError("no\nroom")

    def close(self) -> None:
        raise AssertionError("a logger that failed is not asked again")


class BrokenAtOnce:
    def __init__(self, folder: Path, about: Mapping[str, Any], step: int) -> None:
        raise KeyError("host")


class BrokenAtLast:
    def __init__(self, folder: Path, about: Mapping[str, Any], step: int) -> None:
        pass

    def log(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        raise OSError("connection lost")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def write(folder: Path, loggers: Loggers, steps: range, kept: int = 0, **more: float) -> None:
    with CurveWriter(folder / "curves.jsonl", kept, loggers) as curves:
        for step in steps:
            curves.write({"step": step, "loss": 1 / step, **more})


def test_csv_holds_what_the_lines_hold(tmp_path: Path) -> None:
    loggers = Loggers({"csv": CSVLogger}, tmp_path, "run", {}, pytest.fail)
    write(tmp_path, loggers, range(1, 6))
    write(tmp_path, loggers, range(4, 7), kept=3, extra=0.5)  # resumed from step 3, and a new value appears
    found = rows(tmp_path / "loggers" / "csv" / "run" / "curves.csv")
    lines = read_curves(tmp_path / "curves.jsonl")
    assert [int(row["step"]) for row in found] == [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [float(row["loss"]) for row in found] == [line["loss"] for line in lines]
    assert [row["extra"] for row in found] == ["", "", "", "0.5", "0.5", "0.5"]


def test_a_fresh_start_forgets_old_rows(tmp_path: Path) -> None:
    loggers = Loggers({"csv": CSVLogger}, tmp_path, "run", {}, pytest.fail)
    write(tmp_path, loggers, range(1, 6))
    write(tmp_path, loggers, range(1, 3))
    assert len(rows(tmp_path / "loggers" / "csv" / "run" / "curves.csv")) == 2


def test_tensorboard_shows_what_the_lines_say(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from ssl_skel.loggers.tensorboard import TensorBoardLogger

    loggers = Loggers({"tensorboard": TensorBoardLogger}, tmp_path, "run", {"plugin": "x"}, pytest.fail)
    write(tmp_path, loggers, range(1, 6))
    write(tmp_path, loggers, range(4, 7), kept=3)
    found = EventAccumulator(str(tmp_path / "loggers" / "tensorboard" / "run"))
    found.Reload()
    points = found.Scalars("loss")
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    assert [point.value for point in points] == pytest.approx([1 / step for step in range(1, 7)])
    assert found.Tags()["tensors"] == ["about/text_summary"]


def test_one_that_fails_is_said_once_and_the_others_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    makers = {"broken": Broken, "csv": CSVLogger, "never": BrokenAtOnce, "late": BrokenAtLast}
    write(tmp_path, Loggers(makers, tmp_path, "run", {}, said.append), range(1, 6))
    assert len(rows(tmp_path / "loggers" / "csv" / "run" / "curves.csv")) == 5
    assert len(read_curves(tmp_path / "curves.jsonl")) == 5
    assert [line.split()[1] for line in said] == ["'never'", "'broken'", "'late'"]
    assert "ValueError: no room" in said[1]
    assert all("\n" not in line for line in said)


def test_a_folder_behind_a_link_is_not_written(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "loggers").symlink_to(tmp_path / "elsewhere")
    write(tmp_path, Loggers({"csv": CSVLogger}, tmp_path, "run", {}, said.append), range(1, 3))
    assert "symbolic link" in said[0]
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, subprocess.CompletedProcess[str]]:
    shop = Workshop(tmp_path_factory.mktemp("loggers"), loggers={"broken": BROKEN})
    done = shop.bench_run("-p", "tiny", "-d", "tiny/xsub", "-e", "knn", "--executor", "process", "--logger", "csv",
                          "--logger", "broken")
    return shop, done


def test_a_run_with_a_logger_that_fails_is_a_run(ran: tuple[Workshop, subprocess.CompletedProcess[str]]) -> None:
    shop, done = ran
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning: logger 'broken' failed") == 1
    assert len(results(shop.out)) == 1
    curves = next(shop.out.glob("pretrain/*/curves.jsonl"))
    found = next(shop.out.glob("loggers/csv/tiny-tiny-xsub-s0-*/curves.csv"))
    assert found.parent.name.endswith(curves.parent.name)
    assert [int(row["step"]) for row in rows(found)] == [json.loads(line)["step"] for line in curves.open()]


def test_a_logger_that_does_not_exist_is_said_before_anything_runs(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, loggers={"gone": {"target": "nowhere:Logger"}})
    for name, problem in (("cvs", "unknown logger 'cvs'. Did you mean 'csv'?"), ("gone", "can't be imported")):
        done = shop.bench_run("-p", "tiny", "-d", "tiny/xsub", "-e", "knn", "--logger", name)
        assert done.returncode == 2
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
        assert not shop.out.exists()
