"""The training loop: stopping and going on changes no bit, and what goes wrong is told by name."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny import environment
from helpers.training import OWNER, VIEW, Task, equal, job, whole
from ssl_skel import checkpoint
from ssl_skel.curves import read_curves
from ssl_skel.errors import Diverged
from ssl_skel.schema import TrainConfig
from ssl_skel.train import Interrupted, make_optimizer, make_schedule, pretrain, steps_of


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- going on -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_stop_in_between_changes_no_bit(tmp_path: Path, stop_after: int, ema: float | None) -> None:
    expected, curve = whole(tmp_path / "whole", ema=ema)
    with pytest.raises(Interrupted):
        pretrain(job(tmp_path / "cut", ema=ema, stop_after=stop_after))
    assert len(read_curves(tmp_path / "cut" / "curves.jsonl")) == stop_after
    task, report = pretrain(job(tmp_path / "cut", ema=ema))
    assert equal(dict(task.state_dict()), expected)
    assert read_curves(tmp_path / "cut" / "curves.jsonl") == curve
    assert report.steps == 6


def test_the_optimiser_is_the_same_after_a_stop(tmp_path: Path) -> None:
    for name, stops in (("once", [5]), ("often", [1, 2, 5])):
        for stop in stops:
            with pytest.raises(Interrupted):
                pretrain(job(tmp_path / name, stop_after=stop))
    states = [checkpoint.load(tmp_path / name, OWNER) for name in ("once", "often")]
    assert all(states)
    for state in states:
        state.pop("trained_s")  # type: ignore[union-attr]
    assert equal(*states)
    assert states[0]["optimizer"]["state"]  # type: ignore[index]


def test_a_stop_from_outside_writes_a_checkpoint(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        pretrain(job(tmp_path, stop=stop))
    state = checkpoint.load(tmp_path, OWNER)
    assert state is not None
    assert state["step"] == 1


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from helpers.training import Task, job, pretrain

class Slow(Task):
    def after_step(self, step, total):
        super().after_step(step, total)
        print(step, flush=True)
        time.sleep(0.02)

pretrain(job(Path({folder!r}), Slow(), epochs=20, checkpoint_s=1e-9))
"""


def test_a_kill_in_between_changes_no_bit(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "cut"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stdout is not None
        while int(child.stdout.readline()) < 9:
            pass
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    state = checkpoint.load(tmp_path / "cut", OWNER)
    assert state is not None
    assert 8 <= state["step"] < 60
    expected, curve = whole(tmp_path / "whole", epochs=20)
    task, _ = pretrain(job(tmp_path / "cut", epochs=20))
    assert equal(dict(task.state_dict()), expected)
    assert read_curves(tmp_path / "cut" / "curves.jsonl") == curve


def test_the_curve_reaches_the_file_before_the_checkpoint_that_relies_on_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda folder, state: (
        seen.append((len(read_curves(folder / "curves.jsonl")), state["step"])), save(folder, state)))
    pretrain(job(tmp_path, checkpoint_s=1e-9))
    assert seen == [(step, step) for step in range(1, 6)]


# -- what it costs and says ---------------------------------------------------------------------------------------


def test_nan_ends_the_training_with_step_and_clips(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="loss is nan at step 4 of 6") as caught:
        pretrain(job(tmp_path, Task(poison=4)))
    error = caught.value
    assert error.step == 4
    assert len(error.clips) == 9
    assert set(error.clips) <= set(VIEW.train.names)
    assert error.clips[0] in error.message
    assert error.exit_code == 1
    assert [line["step"] for line in read_curves(tmp_path / "curves.jsonl")] == [1, 2, 3]
    assert checkpoint.load(tmp_path, OWNER) is None


def test_a_nan_is_found_before_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        pretrain(job(tmp_path, Task(poison=4), checkpoint_s=1e-9))
    state = checkpoint.load(tmp_path, OWNER)
    assert state is not None
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["task"].values())


def test_errors_survive_a_trip_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(Diverged("what", "todo", 3, ["a", "b"])))
    assert (error.message, error.step, error.clips) == ("what. todo", 3, ["a", "b"])


def test_the_weight_average_is_what_is_evaluated(tmp_path: Path) -> None:
    task = Task()
    average, _ = pretrain(job(tmp_path / "ema", task, ema=0.9, epochs=1))
    assert average is not task
    expected = Task()
    states = []
    for stop in (1, 2):
        with pytest.raises(Interrupted):
            pretrain(job(tmp_path / "steps", Task(), ema=None, epochs=1, stop_after=stop))
        state = checkpoint.load(tmp_path / "steps", OWNER)
        assert state is not None
        states.append(state["task"])
    states.append(dict(pretrain(job(tmp_path / "steps", expected, ema=None, epochs=1))[0].state_dict()))
    mean = states[0]["head.weight"]  # timm takes the first step as it is
    for state in states[1:]:
        mean = 0.9 * mean + 0.1 * state["head.weight"]
    torch.testing.assert_close(average.state_dict()["head.weight"], mean)
    assert not torch.equal(average.state_dict()["head.weight"], states[-1]["head.weight"])


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    ready = job(tmp_path)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    pretrain(ready)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_callers_random_state_changes_nothing(tmp_path: Path) -> None:
    states = []
    for seed in (1, 2):
        ready = job(tmp_path / str(seed))
        torch.manual_seed(seed)
        states.append(dict(pretrain(ready)[0].state_dict()))
    assert equal(*states)


def test_every_clip_comes_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    seen: list[list[int]] = []

    class Watcher(Task):
        def views(self, batch: Any, gen: torch.Generator) -> Any:
            seen.append(batch.index.tolist())
            return super().views(batch, gen)

    pretrain(job(tmp_path, Watcher(), epochs=2))
    first, second = list(chain(*seen[:3])), list(chain(*seen[3:]))
    assert sorted(first) == sorted(second) == list(range(27))
    assert first != second != list(range(27))


def test_micro_batches_give_the_numbers_of_the_whole_batch(tmp_path: Path) -> None:
    for name, parts in (("one", 1), ("three", 3)):
        task = Task(norm=False, dropout=0.0)
        pretrain(job(tmp_path / name, task, accumulate=parts, ema=None, optimizer="momentum"))
        torch.save(task.state_dict(), tmp_path / name / "weights")
    one, three = (read_curves(tmp_path / name / "curves.jsonl") for name in ("one", "three"))
    for a, b in zip(one, three, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["lr"] == b["lr"]
    weights = [torch.load(tmp_path / name / "weights") for name in ("one", "three")]
    for key in weights[0]:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("keys", "clips", "expected"), [
    ({"epochs": 2, "batch": 9}, 27, (3, 6)), ({"epochs": 2, "batch": 10}, 27, (2, 4)),
    ({"epochs": 0}, 100, (1, 0)), ({"epochs": 5, "batch": 9, "max_steps": 4}, 27, (3, 4)),
    ({"epochs": 1, "batch": 9, "max_steps": 400}, 27, (3, 3))])
def test_number_of_steps(keys: dict[str, int], clips: int, expected: tuple[int, int]) -> None:
    assert steps_of(TrainConfig(**keys), clips) == expected


def test_max_steps_ends_in_mid_epoch(tmp_path: Path) -> None:
    _, report = pretrain(job(tmp_path, max_steps=4))
    assert report.steps == len(read_curves(tmp_path / "curves.jsonl")) == 4


@pytest.mark.parametrize("kind", ["epochs", "frozen"])
def test_nothing_to_train_leaves_the_task_as_it_was_built(tmp_path: Path, kind: str) -> None:
    task = Task()
    if kind == "frozen":
        task.requires_grad_(False)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    trained, report = pretrain(job(tmp_path, task, epochs=0 if kind == "epochs" else 2))
    assert equal(dict(trained.state_dict()), before)
    assert (report.steps, report.loss, task.calls) == (0, None, 0)


def test_progress_and_report(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    _, report = pretrain(job(tmp_path, progress=told.append))
    assert told[-1]["step"] == told[-1]["total"] == report.steps == 6
    assert report.loss == read_curves(tmp_path / "curves.jsonl")[-1]["loss"] == told[-1]["loss"]
    assert report.seconds > 0
    assert report.samples_per_s == pytest.approx(6 * 9 / report.seconds)


# -- schedules ----------------------------------------------------------------------------------------------------


def rates(total: int = 20, **keys: Any) -> list[float]:
    cfg = TrainConfig(lr=0.1, **keys)
    optimizer = make_optimizer(Task(), cfg)
    schedule = make_schedule(optimizer, cfg, total)
    found = []
    for step in range(total):
        schedule.step_update(step)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_cosine() -> None:
    expected = [0.01 + 0.5 * 0.09 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert rates(schedule="cosine", min_lr=0.01) == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_multistep_changes_at_its_milestones_wherever_the_warm_up_ends(warmup: float) -> None:
    found = rates(schedule="multistep", milestones=(0.8, 0.5), gamma=0.1, warmup=warmup)
    assert found[6:10] == pytest.approx([0.1] * 4)
    assert found[10:16] == pytest.approx([0.01] * 6)
    assert found[16:] == pytest.approx([0.001] * 4)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "multistep"])
def test_warm_up_rises_evenly_to_the_peak(schedule: str) -> None:
    found = rates(schedule=schedule, warmup=0.25)
    assert found[0] == pytest.approx(0.1 / 5)
    steps = [after - before for before, after in pairwise(found[:5])]
    assert steps == pytest.approx([steps[0]] * 4)
    assert max(found) <= 0.1
    if schedule != "cosine":
        assert found[5:] == pytest.approx([0.1] * 15)


def test_biases_and_scales_get_no_weight_decay() -> None:
    groups = make_optimizer(Task(), TrainConfig(weight_decay=0.5)).param_groups
    shapes = {group["weight_decay"]: {p.ndim for p in group["params"]} for group in groups}
    assert shapes == {0.0: {1}, 0.5: {2}}


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "lamb", "lars", "radam"])
def test_timms_optimisers_take_our_keys(name: str, tmp_path: Path) -> None:
    _, report = pretrain(job(tmp_path, optimizer=name, max_steps=2, momentum=0.8, betas=(0.8, 0.9)))
    assert report.steps == 2


def test_gradients_are_clipped(tmp_path: Path) -> None:
    def moved(**keys: Any) -> float:
        task = Task()
        before = task.head.weight.detach().clone()
        pretrain(job(tmp_path / str(keys), task, ema=None, max_steps=1, optimizer="momentum", lr=1.0, warmup=0.0,
                     schedule="constant", **keys))
        return float((task.head.weight.detach() - before).norm())

    assert moved(clip_grad=1e-4) <= 1.01e-4 < moved(clip_grad=None)
