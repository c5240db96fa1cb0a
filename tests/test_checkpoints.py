"""Checkpoints and curves: torn, foreign or hostile ones are told, and nothing in them is executed."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.training import OWNER, equal, job, whole
from ssl_skel import checkpoint
from ssl_skel.curves import CurveWriter, read_curves
from ssl_skel.errors import BadRecord, OutputError
from ssl_skel.train import Interrupted, pretrain


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- checkpoints --------------------------------------------------------------------------------------------------


def stopped(folder: Path) -> None:
    """Leave checkpoints of step 2 (previous) and 3 (last)."""
    for stop in (2, 3):
        with pytest.raises(Interrupted):
            pretrain(job(folder, stop_after=stop))


@pytest.mark.parametrize("harm", ["torn", "empty", "text", "pickle", "gone", "flipped", "one bit", "link", "pipe"])
def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path: Path, harm: str) -> None:
    stopped(tmp_path)
    last = tmp_path / "last.ckpt"
    data = last.read_bytes()
    middle = len(data) // 2
    content = {"torn": data[:middle], "empty": b"", "text": b"hello",
               "pickle": b"cos\nsystem\n(S'touch owned'\ntR.", "flipped": bytes(b ^ 255 for b in data),
               "one bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]}.get(harm)
    last.unlink() if content is None else last.write_bytes(content)
    if harm == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        last.symlink_to(tmp_path / "elsewhere")
    if harm == "pipe":
        os.mkfifo(last)
    state = checkpoint.load(tmp_path, OWNER)
    assert state is not None
    assert state["step"] == 2
    task, _ = pretrain(job(tmp_path))
    assert equal(dict(task.state_dict()), whole(tmp_path / "whole")[0])
    assert read_curves(tmp_path / "curves.jsonl") == read_curves(tmp_path / "whole" / "curves.jsonl")


def test_without_a_usable_checkpoint_training_starts_anew(tmp_path: Path) -> None:
    stopped(tmp_path)
    for name in checkpoint.NAMES:
        (tmp_path / name).write_bytes(b"")
    task, _ = pretrain(job(tmp_path))
    assert equal(dict(task.state_dict()), whole(tmp_path / "whole")[0])


def test_a_checkpoint_of_another_cell_is_ignored(tmp_path: Path) -> None:
    stopped(tmp_path)
    assert checkpoint.load(tmp_path, "f" * 16) is None
    steps: list[int] = []
    pretrain(job(tmp_path, owner="f" * 16, progress=lambda values: steps.append(values["step"])))
    assert len(read_curves(tmp_path / "curves.jsonl")) == 6


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    content = io.BytesIO()
    torch.save({"owner": OWNER, "bomb": Bomb()}, content)
    for data in (content.getvalue(), checkpoint.seal(content.getvalue())):
        (tmp_path / "last.ckpt").write_bytes(data)
        assert checkpoint.load(tmp_path, OWNER) is None
        assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("spoil", [
    lambda state: state.pop("task"), lambda state: state.update(task=3), lambda state: state["task"].popitem(),
    lambda state: state["task"].update(extra=torch.zeros(1)), lambda state: state["optimizer"].pop("param_groups"),
    lambda state: state["optimizer"]["param_groups"].clear(), lambda state: state.pop("step"),
    lambda state: state.update(task={key: value[:1] for key, value in state["task"].items() if value.ndim})])
def test_a_checkpoint_that_does_not_fit_is_one_line(tmp_path: Path, spoil: Callable[[dict[str, Any]], Any]) -> None:
    """One of another configuration that was given this one's name, in a file whose digest is right."""
    stopped(tmp_path)
    state = checkpoint.load(tmp_path, OWNER)
    assert state is not None
    spoil(state)
    checkpoint.save(tmp_path, state)
    with pytest.raises(BadRecord, match="does not fit this pretraining") as caught:
        pretrain(job(tmp_path))
    assert "Remove last.ckpt and previous.ckpt there" in caught.value.message
    assert "\n" not in caught.value.message


def test_removing_checkpoints_leaves_the_rest(tmp_path: Path) -> None:
    stopped(tmp_path)
    checkpoint.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.jsonl"]


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder is gone"):
        checkpoint.save(tmp_path / "gone", {"owner": OWNER})
    ready = job(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match="the folder is gone"):
        pretrain(ready)


# -- curves -------------------------------------------------------------------------------------------------------


def test_curves_keep_what_the_checkpoint_knows_and_drop_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(1, 6)) + '{"step": 6, "lo')
    with CurveWriter(path, keep_until=3) as curves:
        curves.write({"step": 4, "loss": 1.5, "odd": math.inf})
    assert [line["step"] for line in read_curves(path)] == [1, 2, 3, 4]
    assert json.loads(path.read_text().splitlines()[-1], parse_constant=pytest.fail)["odd"] is None


@pytest.mark.parametrize("torn", [b'{"step": 3', b"3\n", b"\x00\x00\x00", b"\xff", b"[]\n", b"{}\n"])
def test_a_torn_curve_ends_where_it_is_torn(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    assert [line["step"] for line in read_curves(path)] == [1, 2]
