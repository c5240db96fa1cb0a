"""The one pretraining loop. It knows no method: clips in, a task's loss, an optimiser step, the task's update.

Several processes run it together on the same steps: clips and views are drawn for the whole batch in each of them, and
each takes its share, so neither the order of the clips nor a draw depends on how many there are. The first one writes.

Every draw is seeded by (cell seed, purpose, step), so a resumed run repeats nothing and skips nothing: 2 + 2 steps
with a kill between equal 4 steps bit for bit on a CPU.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from ssl_skel import checkpoint
from ssl_skel.api import Batch, PretextTask
from ssl_skel.curves import CurveWriter
from ssl_skel.data.loader import Clips
from ssl_skel.errors import BadRecord, Diverged
from ssl_skel.loggers.fan import Loggers
from ssl_skel.nn.views import Clips as View
from ssl_skel.nn.views import rotate_vertical
from ssl_skel.runtime import Runtime, peak_mb
from ssl_skel.schema import TrainConfig
from ssl_skel.seed import derive, generator, shuffled
from ssl_skel.sharing import share

Progress = Callable[[dict[str, Any]], None]


class Interrupted(Exception):
    """Training was asked to stop and has written its checkpoint."""


@dataclass
class TrainJob:
    """One pretraining.

    Attributes:
        owner: Pretraining id; a checkpoint of another is never resumed.
        clips: Training clips without labels.
        names: Of the clips; only for naming a batch that diverged, the task never sees them.
        folder: Where checkpoints and curves go.
        checkpoint_s: Seconds between checkpoints; does not change any number.
        stop: Set from outside to end after the current step with a checkpoint.
        progress: Called with ``step, total, epoch, loss, samples_per_s`` at most twice a second.
        stop_after: End (as if interrupted) after this step; for tests of resuming.
        loggers: Show the curves elsewhere.
    """

    owner: str
    task: PretextTask
    clips: Clips
    names: Sequence[str]
    cfg: TrainConfig
    seed: int
    folder: Path
    runtime: Runtime
    checkpoint_s: float = 60.0
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress | None = None
    stop_after: int | None = None
    loggers: Loggers | None = None


@dataclass(frozen=True)
class TrainReport:
    """What a pretraining cost: steps, training seconds, clips a second, peak memory in MB, last loss."""

    steps: int
    seconds: float
    samples_per_s: float
    peak_mb: float
    loss: float | None


def steps_of(cfg: TrainConfig, clips: int) -> tuple[int, int]:
    """Steps an epoch (the last, short batch is dropped) and in all.

    Args:
        cfg: Training keys.
        clips: Number of training clips.
    """
    per_epoch = max(1, clips // cfg.batch)
    total = per_epoch * cfg.epochs
    return per_epoch, min(total, cfg.max_steps) if cfg.max_steps else total


def make_optimizer(task: PretextTask, cfg: TrainConfig) -> torch.optim.Optimizer:
    """Build a timm optimiser; biases and normalisation scales get no weight decay, as is timm's rule."""
    groups = task.param_groups()
    options: dict[str, Any] = {"betas": cfg.betas} if "adam" in cfg.optimizer or "lamb" in cfg.optimizer else {}
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        groups if groups is not None else task, opt=cfg.optimizer, lr=cfg.lr, weight_decay=cfg.weight_decay,
        momentum=cfg.momentum, **options)
    return optimizer


def make_schedule(optimizer: torch.optim.Optimizer, cfg: TrainConfig, total: int) -> Scheduler:
    """Build a timm schedule that is told the step; stateless, so nothing of it needs resuming.

    Warm-up rises in equal steps from ``lr / n`` over its n steps. Milestones and the cosine count from step 0.
    """
    warm = round(cfg.warmup * total)
    common: dict[str, Any] = {"warmup_t": warm, "warmup_lr_init": cfg.lr / max(1, warm), "t_in_epochs": False,
                              "warmup_prefix": False}
    if cfg.schedule == "cosine":
        return CosineLRScheduler(optimizer, t_initial=max(1, total), lr_min=cfg.min_lr, **common)
    # timm lets a milestone act one step early.
    marks = [round(share * total) + 1 for share in sorted(cfg.milestones)] if cfg.schedule == "multistep" else []
    return MultiStepLRScheduler(optimizer, decay_t=marks, decay_rate=cfg.gamma, **common)


def pretrain(job: TrainJob) -> tuple[PretextTask, TrainReport]:
    """Run a pretraining to its last step, resuming from its checkpoint where there is one.

    Args:
        job: What to train, on what, and how.

    Returns:
        The task whose encoders are to be evaluated (the weight average, if the configuration asks for one),
        and what it cost.

    Raises:
        Diverged: If the loss is not finite; names the step and the clips of the batch.
        Interrupted: If asked to stop; a checkpoint has been written.
        OutputError: If the folder can't be written.
    """
    per_epoch, total = steps_of(job.cfg, len(job.clips))
    if total == 0 or not any(p.requires_grad for p in job.task.parameters()):
        return job.task.to(job.runtime.device), TrainReport(0, 0.0, 0.0, peak_mb(job.runtime.device), None)
    devices = [job.runtime.device] if job.runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        return _Loop(job, per_epoch, total).run()


class _Loop:
    """State of one running pretraining."""

    def __init__(self, job: TrainJob, per_epoch: int, total: int) -> None:
        self.job, self.per_epoch, self.total = job, per_epoch, total
        self.device = job.runtime.device
        job.task.to(self.device).train()
        self.task, self.optimizer = job.runtime.prepare(job.task, make_optimizer(job.task, job.cfg))
        self.inner: PretextTask = job.runtime.unwrap(self.task)  # type: ignore[assignment]
        self.schedule = make_schedule(self.optimizer, job.cfg, total)
        self.ema = ModelEmaV3(self.inner, decay=job.cfg.ema) if job.cfg.ema else None
        self.step, self.trained_s = 0, 0.0
        self.pending: list[tuple[int, float, Tensor, dict[str, Tensor]]] = []
        self.gen = torch.Generator(device=self.device)
        self.tokens = shuffled(len(job.clips), "positions", job.seed).to(self.device)
        self.flush_every = 1 if self.device.type == "cpu" else 20  # reading a loss waits for the device
        self.loss: float | None = None
        self.orders: dict[int, Tensor] = {}  # of this epoch, and of the next where its first batch is read ahead

    def run(self) -> tuple[PretextTask, TrainReport]:
        state = checkpoint.load(self.job.folder, self.job.owner)
        if state:
            self._restore(state)
        path = self.job.folder / "curves.jsonl"
        with CurveWriter(path, self.step, self.job.loggers) if self.job.runtime.is_main else nullcontext() as curves:
            self._steps(curves)
        task = self.ema.module if self.ema else self.inner
        rate = self.total * self.job.cfg.batch / self.trained_s if self.trained_s else 0.0
        return task, TrainReport(self.total, self.trained_s, rate, peak_mb(self.device), self.loss)

    def _steps(self, curves: CurveWriter | None) -> None:
        began, saved, told = time.perf_counter(), time.perf_counter(), 0.0
        base = self.trained_s
        while self.step < self.total:
            self._one()
            now = time.perf_counter()
            self.trained_s = base + now - began
            last = self.step == self.total
            full = len(self.pending) >= self.flush_every or last
            stop, due = self._asked(now - saved, full)
            if full or stop or due:
                self._flush(curves)
            if (stop or due) and not last:
                self._save(curves)
                saved = time.perf_counter()
            if stop and not last:
                raise Interrupted
            if self.job.progress and (now - told > 0.5 or last):
                told = now
                self.job.progress(self._status(base, now - began))

    def _asked(self, unsaved_s: float, full: bool) -> tuple[bool, bool]:
        """Whether to stop, and whether to save; processes agree on it where they wait for each other anyway."""
        stop = self.job.stop.is_set() or self.step == self.job.stop_after
        due = unsaved_s > self.job.checkpoint_s
        if self.job.runtime.world_size == 1:
            return stop, due
        return self.job.runtime.agreed(stop, due) if full else (False, False)  # type: ignore[return-value]

    def _one(self) -> None:
        """One optimiser step; never waits for the device."""
        cfg, step = self.job.cfg, self.step
        index = self._indices(step)
        rank = self.job.runtime.rank
        torch.manual_seed(derive(self.job.seed, "step", step, *([rank] if rank else [])))  # dropout draws from here
        self.gen.manual_seed(derive(self.job.seed, "views", step))
        logs: dict[str, Tensor] = {}
        self.schedule.step_update(step)
        self.optimizer.zero_grad(set_to_none=True)
        if step + 1 < self.total:
            self.job.clips.prefetch(self._indices(step + 1))
        for number, views in enumerate(self._views(index), 1):
            with self.job.runtime.apart(self.task, last=number == cfg.accumulate):
                with self.job.runtime.autocast():
                    out = self.task(views)
                self.job.runtime.backward(out["loss"] / cfg.accumulate)
            for name, value in out.items():
                logs[name] = logs.get(name, 0) + value.detach().float() / cfg.accumulate
        if cfg.clip_grad:
            self.job.runtime.clip(self.task, cfg.clip_grad)
        self.optimizer.step()
        self.step += 1
        with torch.no_grad():
            self.inner.after_step(self.step, self.total)
        if self.ema:
            self.ema.update(self.inner, step=self.step)
        self.pending.append((step, self.optimizer.param_groups[0]["lr"], index, logs))

    def _views(self, index: Tensor) -> Iterator[Any]:
        """This process's share of the views of each micro-batch; they are drawn for the whole batch at once."""
        parts, runtime = self.job.cfg.accumulate, self.job.runtime
        with torch.no_grad():
            views = self.inner.views(self._clips(index), self.gen)
        for part in range(parts):
            yield share(views, len(index), part * runtime.world_size + runtime.rank, parts * runtime.world_size)

    def _clips(self, index: Tensor) -> Batch:
        """Clips for the task, numbered at random: positions tell the classes, as a store is sorted by name."""
        batch = self.job.clips.sample(index, self.job.cfg.frames, "stratified", self.gen)
        view = View(batch.xyz, batch.valid)
        if self.job.cfg.rotate:
            view = rotate_vertical(view, self.gen, batch.layout, self.job.cfg.rotate)
        return Batch(view.xyz, view.valid, self.tokens[batch.index.to(self.device)], batch.layout)

    def _indices(self, step: int) -> Tensor:
        """Positions of the clips of a step: a seeded permutation for each epoch, cut into batches."""
        epoch, at = divmod(step, self.per_epoch)
        if epoch not in self.orders:
            gen = generator(self.job.seed, "order", epoch)
            self.orders = {key: value for key, value in self.orders.items() if key == epoch - 1}
            self.orders[epoch] = torch.randperm(len(self.job.clips), generator=gen)
        batch = self.job.cfg.batch
        return self.orders[epoch][at * batch:(at + 1) * batch]

    def _flush(self, curves: CurveWriter | None) -> None:
        """Read the losses of the last steps from the device in one go, check and log them."""
        for step, lr, index, logs in self.pending:
            found = self.job.runtime.mean(torch.stack(list(logs.values())))
            values = dict(zip(logs, found.cpu().tolist(), strict=True))
            if not math.isfinite(values["loss"]):
                names = [self.job.names[i] for i in index.cpu().tolist()]
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                raise Diverged(f"the loss is {values['loss']} at step {step + 1} of {self.total}; clips of the batch: "
                               f"{', '.join(names[:8])}{more}",
                               "Lower train.lr, set train.clip_grad, or look at the clips.", step + 1, names)
            self.loss = values["loss"]
            if curves:
                curves.write({"step": step + 1, "epoch": step // self.per_epoch, "lr": lr, **values})
        self.pending.clear()

    def _status(self, base: float, seconds: float) -> dict[str, Any]:
        rate = self.step * self.job.cfg.batch / max(1e-9, base + seconds)
        return {"step": self.step, "total": self.total, "epoch": self.step // self.per_epoch, "loss": self.loss,
                "samples_per_s": rate}

    def _save(self, curves: CurveWriter | None) -> None:
        if curves is None:
            return
        curves.flush()
        checkpoint.save(self.job.folder, {
            "owner": self.job.owner, "step": self.step, "trained_s": self.trained_s, "loss": self.loss,
            "task": self.inner.state_dict(), "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None})

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self._take(state)
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise BadRecord(f"the checkpoint in {self.job.folder} does not fit this pretraining: {reason}",
                            f"Remove {' and '.join(checkpoint.NAMES)} there and run the same command again.") from None

    def _take(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.step, self.trained_s, self.loss = state["step"], state["trained_s"], state["loss"]


def encoders_of(task: PretextTask) -> dict[str, nn.Module]:
    """Encoders of a task in evaluation mode, without gradients."""
    encoders: dict[str, nn.Module] = dict(task.encoders())
    for encoder in encoders.values():
        encoder.eval().requires_grad_(False)
    return encoders
