"""Layers with batch statistics: two processes with half of the batch each give what one gives with all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from ssl_skel.nn.edge_conv import EdgeConv
from ssl_skel.nn.knn import knn
from ssl_skel.nn.point_head import PointHead
from ssl_skel.nn.sync_norm import synchronise

CLOUDS, POINTS, WIDTH = 4, 10, 3


def inputs() -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(CLOUDS, POINTS, WIDTH, generator=gen)
    x[:2] += 3  # the halves differ, so statistics of one half are wrong
    valid = torch.rand(CLOUDS, POINTS, generator=gen) > 0.2
    return x, valid


def edges(layer: EdgeConv, x: Tensor, valid: Tensor) -> Tensor:
    out: Tensor = layer(x, knn(x.detach(), valid, 3), valid)
    return out


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor, Tensor], Tensor]]] = {
    "edge_conv": (lambda: EdgeConv(WIDTH, 8), edges),
    "point_head": (lambda: PointHead(WIDTH, 8), lambda layer, x, valid: layer(x, valid)),
    "batch_norm_1d": (lambda: nn.BatchNorm1d(WIDTH), lambda layer, x, _: layer(x.flatten(0, 1))),
    "batch_norm_2d": (lambda: nn.BatchNorm2d(WIDTH), lambda layer, x, _: layer(x.permute(0, 2, 1)[..., None])),
    "no_statistics": (lambda: nn.BatchNorm1d(WIDTH, affine=False, track_running_stats=False),
                      lambda layer, x, _: layer(x.flatten(0, 1))),
}


def measure(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    """Outputs, gradients (averaged, as DDP does) and buffers of every layer for this process's clouds."""
    found = {}
    for name, (make, call) in LAYERS.items():
        torch.manual_seed(1)
        layer = make().train()
        if world > 1:
            synchronise(layer)
        x, valid = (part.chunk(world)[rank].clone() for part in inputs())
        x.requires_grad_()
        out = call(layer, x, valid)
        weight = torch.linspace(-1, 1, out[0].numel()).view_as(out[0])
        (out * weight).square().sum(dim=tuple(range(1, out.ndim))).mean().backward()
        assert x.grad is not None
        found[name] = {"out": out.detach(), "input": x.grad / world,
                       **{key: value.grad for key, value in layer.named_parameters() if value.grad is not None},
                       **{key: value.float() for key, value in layer.named_buffers()}}
    return found


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    torch.save(measure(rank, world), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, args=(2, str(folder)), nprocs=2)
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    return first, second, [measure(0, 1)]


@pytest.mark.parametrize("name", LAYERS)
def test_two_processes_equal_one(both: tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]], name: str) -> None:
    first, second, (alone,) = both
    for key, expected in alone[name].items():
        if key in ("out", "input"):
            found = torch.cat([first[name][key], second[name][key]])
        elif key in dict(LAYERS[name][0]().named_parameters()):
            found = (first[name][key] + second[name][key]) / 2
        else:
            found = first[name][key]
            torch.testing.assert_close(found, second[name][key])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_layers_are_changed_in_place_and_alone_behave_as_before() -> None:
    layer = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    held, keys = layer[0], list(layer.state_dict())
    x = torch.randn(5, 3)
    expected = nn.BatchNorm1d(3)(x)
    synchronise(layer)
    assert layer[0] is held
    assert list(layer.state_dict()) == keys
    torch.testing.assert_close(held(x), expected)
