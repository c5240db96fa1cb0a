"""Losses on gathered tensors have the gradient of one process that holds the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from ssl_skel.nn import losses
from ssl_skel.nn.gather import all_gather, all_reduce_sum

ROWS, DIM = 6, 4


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    gen = torch.Generator().manual_seed(0)
    x, y, weight = (torch.randn(n, DIM, generator=gen, dtype=torch.float64) for n in (ROWS, ROWS, DIM))
    return x, y, weight.requires_grad_()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nt_xent": lambda a, b: losses.nt_xent(a, b, gather=all_gather),
    "info_nce": lambda a, b: losses.info_nce(a, b, gather=all_gather),
    "barlow": lambda a, b: losses.barlow_twins(a, b, gather=all_gather),
    "vicreg": lambda a, b: losses.vicreg(a, b, gather=all_gather),
    "koleo": lambda a, b: losses.koleo(torch.cat([a, b], 1), gather=all_gather),
    "masked": lambda a, b: losses.masked_mse(a[:, None], b[:, None], (b[:, :1] > 0.3), gather=all_gather),
    "sum": lambda a, b: all_reduce_sum((a * b).sum().square()[None]).square().sum(),
}


def worker(rank: int, world: int, store: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    x, y, weight = inputs()
    part = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    grads = {}
    for name, fn in LOSSES.items():
        loss = fn(x[part] @ weight, y[part] @ weight)
        (grad,) = torch.autograd.grad(loss, weight)
        dist.all_reduce(grad)
        grads[name] = (loss.detach(), grad / world)
    if rank == 0:
        torch.save(grads, out)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tensor, Tensor]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, args=(2, str(folder / "store"), str(folder / "grads.pt")), nprocs=2)
    result: dict[str, tuple[Tensor, Tensor]] = torch.load(folder / "grads.pt", weights_only=True)
    return result


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "sum"])
def test_two_processes_equal_one(name: str, two_processes: dict[str, tuple[Tensor, Tensor]]) -> None:
    x, y, weight = inputs()
    loss = LOSSES[name](x @ weight, y @ weight)
    (grad,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(two_processes[name][0], loss.detach())
    torch.testing.assert_close(two_processes[name][1], grad)


def test_sum_over_processes(two_processes: dict[str, tuple[Tensor, Tensor]]) -> None:
    x, y, weight = inputs()
    halves = [((x[p] @ weight) * (y[p] @ weight)).sum().square() for p in (slice(0, 3), slice(3, 6))]
    loss = sum(halves, torch.zeros(())).square()
    (grad,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(two_processes["sum"], (loss.detach(), grad))


def test_identity_in_one_process() -> None:
    x = torch.randn(3, 2)
    assert all_gather(x) is x
    assert all_reduce_sum(x) is x
