"""Two gloo processes with half of the batch each must equal one process with all of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from ssl_skel.api import Batch
from ssl_skel.contract.subject import Skipped, Subject, clips, require
from ssl_skel.registry import discover

TOLERANCE = 1e-3
_STEPS = 2


def two_processes_equal_one(subject: Subject) -> None:
    """After two steps the weights of the encoders agree, to rounding, with those of one process."""
    _, task = subject.first()
    if not any(p.requires_grad for p in task.parameters()):
        raise Skipped("nothing is trained")
    with tempfile.TemporaryDirectory(prefix="ssl-skel-check-") as folder:
        alone, together = (_weights(subject, world, Path(folder)) for world in (1, 2))
    for key, value in alone.items():
        scale = float(value.abs().max().clamp(min=1e-3))
        error = float((value - together[key]).abs().max()) / scale
        require(error < TOLERANCE, f"with two processes {key} differs by {error:.2g} of its largest weight")


def _weights(subject: Subject, world: int, folder: Path) -> dict[str, torch.Tensor]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = folder / f"world{world}.pt"
    path = str(subject.entry.folder)
    jobs = []
    for rank in range(world):
        env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank),
               "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        args = json.dumps({"name": subject.entry.name, "path": path, "backbone": subject.backbone, "out": str(result)})
        jobs.append(subprocess.Popen([sys.executable, "-m", "ssl_skel.contract.distributed", args], env=env,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    outputs = [job.communicate(timeout=240)[0] for job in jobs]
    last = (outputs[0] or outputs[-1]).strip().splitlines()[-1:]
    require(all(job.returncode == 0 for job in jobs), f"{world} processes: {last[0] if last else 'no output'}")
    weights: dict[str, torch.Tensor] = torch.load(result, weights_only=True)
    return weights


def _main(args: dict[str, Any]) -> None:
    """One of the processes: two plain SGD steps on its share of each batch."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    catalogue = discover()
    if args["name"] not in catalogue.names("plugins"):
        catalogue = discover((args["path"],))
    subject = Subject(catalogue.get("plugins", args["name"]), catalogue, args["backbone"])
    layout, task = subject.first()
    wrapped = DistributedDataParallel(task.train(), find_unused_parameters=True) if world > 1 else task.train()
    optimizer = torch.optim.SGD(task.parameters(), lr=0.01)
    size = max(8, 2 * subject.card.min_batch)
    for step in range(_STEPS):
        whole = clips(layout, size, seed=step, dropout=0.0)
        with torch.no_grad():
            views = task.views(whole, torch.Generator().manual_seed(step))
        torch.manual_seed(step)
        optimizer.zero_grad()
        wrapped(_share(views, size, rank, world))["loss"].backward()
        optimizer.step()
        with torch.no_grad():
            task.after_step(step + 1, _STEPS)
    if rank == 0:
        weights = {f"{name}/{key}": value for name, encoder in task.encoders().items()
                   for key, value in encoder.named_parameters()}
        torch.save({key: value.detach().clone() for key, value in weights.items()}, args["out"])
    torch.distributed.destroy_process_group()


def _share(value: Any, size: int, rank: int, world: int) -> Any:
    """This process's rows of everything in `value` that has one row a clip."""
    if isinstance(value, torch.Tensor):
        return value.chunk(world)[rank] if value.ndim and len(value) == size else value
    if isinstance(value, Batch):
        xyz, valid, index = (_share(t, size, rank, world) for t in (value.xyz, value.valid, value.index))
        return Batch(xyz, valid, index, value.layout)
    if isinstance(value, dict):
        return {key: _share(item, size, rank, world) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_share(item, size, rank, world) for item in value))
    return type(value)(_share(item, size, rank, world) for item in value) if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
