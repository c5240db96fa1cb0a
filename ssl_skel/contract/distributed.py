"""Two gloo processes with half of the batch each must equal one process with all of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from ssl_skel.api import Backbone, PretextTask
from ssl_skel.contract.subject import Skipped, Subject, clips, require
from ssl_skel.registry import discover
from ssl_skel.sharing import share

TOLERANCE = 0.01
"""Of the whole change of an encoder's weights; rounding alone makes up to 1e-3 where a loss is badly conditioned."""
_STEPS = 2
_WORLD = 2


def two_processes_equal_one(subject: Subject) -> None:
    """Two steps change the weights of the encoders as one process changes them, to rounding."""
    _, task = subject.first()
    if not any(p.requires_grad for p in task.parameters()):
        raise Skipped("nothing is trained")
    _clips_are_dealt(subject)
    with tempfile.TemporaryDirectory(prefix="ssl-skel-check-") as folder:
        jobs = _start(subject, Path(folder) / "weights.pt")
        try:
            alone = _train(subject, 0, 1)  # in this process, while the two start
        finally:
            together = _finish(jobs, Path(folder) / "weights.pt")
    before = _weights(task)
    for name in task.encoders():
        keys = [key for key in before if key.startswith(f"{name}/")]
        change, error = (_length(alone[key] - other[key] for key in keys) for other in (before, together))
        require(error <= TOLERANCE * change, f"with two processes encoder {name!r} moves elsewhere: by {error:.2g}, of "
                f"{change:.2g} in all")


def _clips_are_dealt(subject: Subject) -> None:
    """A half of the views brings half of the clips to every backbone; else both processes would work on all of them."""
    layout, task = subject.first()
    whole = clips(layout, _size(subject), dropout=0.0)
    with torch.no_grad():
        views = task.views(whole, torch.Generator().manual_seed(0))
    all_rows, half_rows = _rows(task, views), _rows(task, share(views, len(whole), 0, _WORLD))
    require(all_rows == [_WORLD * rows for rows in half_rows], f"cut into {_WORLD} shares, the views bring {half_rows} "
            f"clips to the backbones instead of {all_rows}; give views as tensors with a row a clip, in tuples, lists, "
            "mappings or dataclasses")


def _rows(task: PretextTask, views: Any) -> list[int]:
    """Clips that the backbones of a task are called with."""
    found: list[int] = []
    hooks = [module.register_forward_pre_hook(lambda _, inputs: found.append(len(inputs[0])))
             for module in task.modules() if isinstance(module, Backbone)]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        task.train()(views)
    for hook in hooks:
        hook.remove()
    return found


def _size(subject: Subject) -> int:
    return max(8, 2 * subject.card.min_batch)


def _length(parts: Iterable[torch.Tensor]) -> float:
    return math.sqrt(sum(float(part.double().square().sum()) for part in parts))


def _weights(task: PretextTask) -> dict[str, torch.Tensor]:
    return {f"{name}/{key}": value.detach().clone() for name, encoder in task.encoders().items()
            for key, value in encoder.named_parameters()}


def _start(subject: Subject, result: Path) -> list[subprocess.Popen[str]]:
    args = json.dumps({"name": subject.entry.name, "path": str(subject.entry.folder), "backbone": subject.backbone,
                       "out": str(result), "store": str(result.with_name("store"))})
    jobs = []
    for rank in range(_WORLD):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        jobs.append(subprocess.Popen([sys.executable, "-m", "ssl_skel.contract.distributed", str(rank), args], env=env,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    return jobs


def _finish(jobs: list[subprocess.Popen[str]], result: Path) -> dict[str, torch.Tensor]:
    try:
        outputs = [job.communicate(timeout=240)[0] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    for rank, (job, output) in enumerate(zip(jobs, outputs, strict=True)):
        last = (output.strip().splitlines() or ["no output"])[-1]
        require(job.returncode == 0, f"{_WORLD} processes: rank {rank} ended with {job.returncode}: {last}")
    weights: dict[str, torch.Tensor] = torch.load(result, weights_only=True)
    return weights


def _train(subject: Subject, rank: int, world: int) -> dict[str, torch.Tensor]:
    """Two plain SGD steps on this process's share of each batch; the weights of all encoders."""
    layout, task = subject.first()
    wrapped = DistributedDataParallel(task.train(), find_unused_parameters=True) if world > 1 else task.train()
    optimizer = torch.optim.SGD(task.parameters(), lr=0.01)
    size = _size(subject)
    for step in range(_STEPS):
        whole = clips(layout, size, seed=step, dropout=0.0)
        with torch.no_grad():
            views = task.views(whole, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step)
            wrapped(share(views, size, rank, world))["loss"].backward()
        optimizer.step()
        with torch.no_grad():
            task.after_step(step + 1, _STEPS)
    return _weights(task)


def _main(rank: int, args: dict[str, Any]) -> None:
    """One of the two processes."""
    torch.set_num_threads(1)
    # they meet in a file, since a port that was free when it was looked up may be taken a few seconds later
    store = torch.distributed.FileStore(args["store"], _WORLD)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=_WORLD)
    catalogue = discover()
    if args["name"] not in catalogue.names("plugins"):
        catalogue = discover((args["path"],))
    weights = _train(Subject(catalogue.get("plugins", args["name"]), catalogue, args["backbone"]), rank, _WORLD)
    if rank == 0:
        torch.save(weights, args["out"])
    store.set(f"done/{rank}", "1")
    store.wait([f"done/{other}" for other in range(_WORLD)])  # who leaves while the other still talks takes it along


if __name__ == "__main__":
    _main(int(sys.argv[1]), json.loads(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # threads of libraries may crash when the interpreter ends under them, with the work done
