"""A record comes out again, from its encoders and from its own commands, or it is said what differs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from helpers.tiny import Workshop, environment, results
from ssl_skel.bench import rerun as module
from ssl_skel.bench.cards import read_card
from ssl_skel.bench.cells import EvalCell
from ssl_skel.bench.executors.inline import InlineExecutor
from ssl_skel.bench.predictions import write_predictions
from ssl_skel.bench.record import Record
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.run import RunOptions, run_plan
from ssl_skel.bench.store import RecordStore
from ssl_skel.cli.board import verify
from ssl_skel.errors import SkelError
from ssl_skel.registry import discover


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("rerun"))
    asked = Asked(names=("tiny",), datasets=("tiny/xsub",), evaluators=("knn", "linear"), seeds=(3,), device="cpu",
                  settings=("scale=0.5", "train.epochs=1", "tiny:train.lr=0.002"))
    plan = plan_of(asked, made.catalogue(), made.root / "data")
    assert made.run_here(plan) == 0
    return made


def verified(shop: Workshop, *arguments: str, records: Path | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(verify, ["--records", str(records or shop.out), "--plugins", str(shop.root), "--device",
                                       "cpu", "--data-root", str(shop.root / "data"), *arguments])
    error = done.exception.message if isinstance(done.exception, SkelError) else ""
    return done.exit_code, done.output + error


def record_of(shop: Workshop, evaluator: str = "knn") -> Record:
    return next(record for record in RecordStore(shop.out).all() if record.cell.evaluator == evaluator)


def doctored(shop: Workshop, to: Path, **changes: Any) -> Record:
    """A copy of the folder in which the k-NN record says something else, sealed and with fitting predictions."""
    shutil.copytree(shop.out, to)
    store, record = RecordStore(to), record_of(shop)
    table = store.read_predictions(record)
    top = table.top.copy()
    top[0, :2] = top[0, :2][::-1]
    store.write(record.model_copy(update=changes), write_predictions(table.clips, table.labels, top))
    return record


def test_a_rerun_gives_the_record(shop: Workshop) -> None:
    code, said = verified(shop, record_of(shop).id, "--rerun")
    assert code == 0, said
    assert "rerun (predictions bit for bit) agree" in said
    before = results(shop.out)
    code, said = verified(shop, "--all", "--rerun", "--rescore")
    assert code == 0, said
    assert "2 records read, 0 problems" in said
    assert results(shop.out) == before


def test_another_number_is_exit_code_3_and_says_what_differs(shop: Workshop, tmp_path: Path) -> None:
    record = record_of(shop)
    env = {**record.env, "packages": {**record.env["packages"], "torch": "1.0"}}
    metrics = {**record.metrics, "k20_top1": record.metrics["k20_top1"] - 0.015}
    doctored(shop, tmp_path / "out", metrics=metrics, env=env)
    code, said = verified(shop, record.id, "--rerun", records=tmp_path / "out")
    assert code == 3
    assert f"record {record.id} is not reproduced: k20_top1 is" in said
    assert "1 of 9 clips are predicted differently" in said
    assert "torch 1.0 -> " in said
    code, said = verified(shop, "--all", "--rerun", records=tmp_path / "out")
    assert code == 3
    code, said = verified(shop, record.id, "--rerun", "--tolerance", "2", records=tmp_path / "out")
    assert code == 0
    assert "metrics, with 1 of 9 clips predicted differently" in said


def test_weights_elsewhere_missing_or_others(shop: Workshop, tmp_path: Path) -> None:
    record, bare = record_of(shop), tmp_path / "bare"
    shutil.copytree(shop.out, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    code, said = verified(shop, record.id, "--rerun", records=bare)
    assert code == 4
    assert "holds no weights" in said
    assert verified(shop, record.id, "--rerun", "--encoders", str(shop.out), records=bare)[0] == 0
    other = tmp_path / "other"
    shutil.copytree(shop.out, other)
    weights = other / "pretrain" / record.pretrain_id / "encoders.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    for option in ("--rerun", "--rescore"):
        code, said = verified(shop, record.id, option, records=other)
        assert code in (2, 4)
        assert f"{weights} is not what its card says" in " ".join(said.split())
    weights.write_bytes(whole)
    card = other / "pretrain" / record.pretrain_id / "card.json"
    card.write_text(card.read_text().replace(record.digests.encoder, "0" * 64))
    code, said = verified(shop, record.id, "--rerun", "--encoders", str(other))
    assert code == 4
    assert "other encoders" in said


def test_a_stale_record_is_not_rerun(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssl_skel.evaluators.knn import KNN

    monkeypatch.setattr(KNN, "version", 9)
    code, said = verified(shop, record_of(shop).id, "--rerun")
    assert code == 4
    assert "knn is version 9, was 1" in said
    assert verified(shop, record_of(shop, "linear").id, "--rerun")[0] == 0


def test_every_evaluation_of_a_suite_can_be_rebuilt_from_its_record(shop: Workshop) -> None:
    """What a record holds is enough to give its cell, and so its id, again."""
    for record in RecordStore(shop.out).all():
        card = read_card(shop.out / "pretrain" / record.pretrain_id)
        cell = module.cell_of(record, card, shop.catalogue())
        assert isinstance(cell, EvalCell)
        assert cell.id == record.id
        assert cell.key() == record.cell


# -- the commands in a record ---------------------------------------------------------------------------------------


def test_a_record_carries_the_commands_that_make_it(shop: Workshop, tmp_path: Path) -> None:
    record = record_of(shop)
    install, *_, run = [line for line in record.reproduce if not line.startswith("#")][-2:]
    assert shlex.split(install)[:3] == ["pip", "install", "."]
    assert f"torch=={record.versions['torch']}" in shlex.split(install)
    words = shlex.split(run)
    assert words[:3] == ["ssl-skel", "bench", "run"]
    assert words[-2:] == ["--only", record.id]
    shop.out, before = tmp_path / "again", shop.out
    done = subprocess.run([*shop.command(*words[1:]), "--out", str(shop.out), "--data-root", str(shop.root / "data"),
                           "--device", "cpu", "--executor", "inline"], capture_output=True, text=True, check=False,
                          env=environment())
    shop.out, again = before, shop.out
    assert done.returncode == 0, done.stderr
    assert results(again) == {record.id: results(before)[record.id]}


def test_an_id_that_the_plan_no_longer_gives_is_refused(shop: Workshop) -> None:
    with pytest.raises(SkelError, match="is no evaluation of this plan"):
        shop.plan("tiny", only=("0" * 16,))
    plan = shop.plan("tiny", evaluators=("knn", "linear"))
    wanted = plan.evaluations[1].id
    only = shop.plan("tiny", evaluators=("knn", "linear"), only=(wanted,))
    assert [cell.id for cell in only.evaluations] == [wanted]
    assert only.pretrainings == plan.pretrainings


def test_a_record_from_before_has_no_commands_and_is_valid(shop: Workshop, tmp_path: Path) -> None:
    record = record_of(shop)
    path = RecordStore(shop.out).record_path(record.id, record.cell)
    raw = json.loads(path.read_text())
    assert raw["reproduce"] == list(record.reproduce)
    del raw["reproduce"]
    assert Record.model_validate({**raw, "seal": ""}).reproduce == ()
    options = RunOptions(tmp_path / "o", shop.root / "data", (str(shop.root),), device="cpu")
    plan = shop.plan("tiny").model_copy(update={"command": ()})
    assert run_plan(plan, discover((str(shop.root),)), InlineExecutor, options, lambda name, values: None) == 0
    assert RecordStore(tmp_path / "o").all()[0].reproduce == ()
