"""Operations whose rounding depends on the number of threads have the same bits on one thread and on two."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from helpers.tiny import environment
from ssl_skel.nn.one_thread import one_thread, settle, unsettled

pytestmark = pytest.mark.skipif(not hasattr(torch.library, "get_kernel"), reason="this PyTorch can't tell its kernels")


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    before = torch.get_num_threads()
    assert settle()
    yield
    torch.set_num_threads(before)


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), requires_grad=True)


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Output of a module, and the gradients of its input and its parameters; weights do not depend on what ran."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(rand(*parameter.shape) * 0.1)
    y = module(x)
    return [y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])]


def convolution(bf16: bool = False) -> list[Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return gradients(nn.Conv2d(32, 32, (9, 1), padding=(4, 0)), rand(64, 32, 10, 20))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[torch.arange(50_000) % 97]


def symmetric() -> list[Tensor]:
    x = rand(512, 512).detach().double()
    return list(torch.linalg.eigh(x @ x.T))


WORK: dict[str, Callable[[], list[Tensor]]] = {
    "convolution": convolution,
    "convolution in bf16": lambda: convolution(bf16=True),
    "convolution of one dimension": lambda: gradients(nn.Conv1d(64, 64, 3), rand(64, 64, 100)),
    "1 x 1 convolution of few clips": lambda: gradients(nn.Conv2d(16, 32, 1), rand(8, 16, 3, 20)),
    "1 x 1 convolution of many clips": lambda: gradients(nn.Conv2d(16, 32, 1), rand(64, 16, 3, 20)),
    "transposed convolution": lambda: gradients(nn.ConvTranspose1d(64, 32, 3), rand(64, 64, 100)),
    "layer normalisation": lambda: gradients(nn.LayerNorm(128), rand(64, 100, 128)),
    "batch normalisation of vectors": lambda: gradients(nn.BatchNorm1d(2048), rand(64, 2048)),
    "gradient of a learned scalar": lambda: gradients(Scaled(), rand(64, 3, 50, 25)),
    "gradient of repeated rows": lambda: gradients(Rows(), rand(100, 16)),
    "sum by dimensions": lambda: [rand(64, 3, 50, 25).sum(dim=(0, 1, -2, -1)), rand(1, 600_000).mean(dim=1)],
    "sum of a number": lambda: [torch.tensor(2.0).sum(dim=0), torch.ones(0, 3).sum(dim=(0, 1))],
    "product and dot": lambda: [(rand(600_000) * 1e-3 + 1).prod(), rand(600_000) @ rand(600_000)],
    "factors": lambda: [*torch.linalg.svd(rand(300, 200)), *torch.linalg.qr(rand(300, 200)),
                        torch.linalg.inv(rand(300, 300)), torch.linalg.solve(rand(300, 300), rand(300))],
    "sum": lambda: [rand(2048, 2048).sum()],
    "mean": lambda: [rand(2048, 2048).mean()],
    "eigenvectors": symmetric,
}


def on_threads(work: Callable[[], list[Tensor]], threads: int) -> list[Tensor]:
    torch.set_num_threads(threads)
    done = work()
    assert torch.get_num_threads() == threads
    return done


def alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_same_bits_on_any_number_of_threads(name: str, threads: int) -> None:
    alone = on_threads(WORK[name], 1)
    assert alike(on_threads(WORK[name], threads), alone)
    with unsettled():
        assert alike(on_threads(WORK[name], 1), alone)  # one thread computes what PyTorch computes on it


def test_some_of_them_depend_on_the_threads_as_pytorch_runs_them() -> None:
    with unsettled():
        moved = [name for name, work in WORK.items() if not alike(on_threads(work, 1), on_threads(work, 2))]
    assert "convolution" in moved, "PyTorch has changed: `settle` may be needless now"
    assert len(moved) >= 4


def test_gradients_that_nobody_asked_for_are_not_computed() -> None:
    torch.set_num_threads(2)
    x, layer = rand(8, 4, 10, 5), nn.Conv2d(4, 4, 3)
    layer.weight.requires_grad_(False)
    assert len(torch.autograd.grad(layer(x).sum(), [x, layer.bias])) == 2
    assert torch.autograd.grad(nn.Conv2d(4, 4, 3, bias=False)(x).sum(), [x])[0].shape == x.shape
    first = nn.Conv2d(4, 4, 3)
    first(x.detach()).sum().backward()
    assert first.weight.grad is not None
    assert torch.get_num_threads() == 2


def test_a_failing_operation_leaves_the_number_of_threads_as_it_was() -> None:
    torch.set_num_threads(3)
    with pytest.raises(RuntimeError):
        torch.linalg.eigh(torch.full((4, 4), torch.nan))
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError, match="1"), one_thread():
        raise ZeroDivisionError(torch.get_num_threads())
    assert torch.get_num_threads() == 3


def test_a_forked_child_trains_on() -> None:
    code = ("import os, torch; from torch import nn; from ssl_skel.nn.one_thread import settle\n"
            "torch.set_num_threads(2); settle(); layer = nn.Conv2d(4, 4, 3)\n"
            "def step(): layer(torch.ones(2, 4, 8, 8, requires_grad=True)).sum().backward()\n"
            "step()\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    torch.set_num_threads(2); import signal; signal.alarm(60)\n"
            "    from ssl_skel.nn.fast import helpers\n"
            "    helpers(os.getpid()).submit(int).result(); os._exit(0)\n"
            "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n")
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0


def test_it_works_inside_and_beside_other_dispatch() -> None:
    """Counting of FLOPs, shapes without storage and vectorised gradients see the operations as before."""
    from torch.func import grad, vmap
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(2)
    x, layer = rand(8, 4, 10, 5), nn.Conv2d(4, 4, 3)
    with FlopCounterMode(display=False) as counted:
        layer(x).sum().backward()
    assert counted.get_total_flops() > 0
    meta = nn.Conv2d(4, 4, 3, device="meta")
    meta(torch.ones(8, 4, 10, 5, device="meta")).sum().backward()
    assert meta.weight.grad is not None
    weight = layer.weight.detach()
    each = vmap(grad(lambda w, one: nn.functional.conv2d(one[None], w).square().sum()), (None, 0))(weight, x.detach())
    whole = grad(lambda w: nn.functional.conv2d(x.detach(), w).square().sum())(weight)
    torch.testing.assert_close(each.sum(0), whole, rtol=1e-4, atol=1e-4)
