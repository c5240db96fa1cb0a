"""What each registered backbone costs: parameters, operations, clips a second; on clips of one size."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ssl_skel.api import Backbone, Batch
from ssl_skel.data.layouts import Layout
from ssl_skel.errors import SkelError
from ssl_skel.registry import Catalogue
from ssl_skel.yamlio import validate


@dataclass(frozen=True)
class Cost:
    """One row of the table.

    Attributes:
        name: Of the backbone.
        version: Of the backbone.
        dim: D, length of the pooled vector.
        parameters: That are trained.
        gflops: 10^9 operations a clip, a multiplication and its addition counted as two: matrix products,
            convolutions, attention and recurrent layers of one forward pass. Neighbour searches count, element-wise
            work does not.
        clips_per_s: Encoded in evaluation mode, without gradients, on the device at hand.
        refused: Why it does not take such clips, or "".
    """

    name: str
    version: int
    dim: int = 0
    parameters: int = 0
    gflops: float = 0.0
    clips_per_s: float = 0.0
    refused: str = ""


def backbone_table(catalogue: Catalogue, layout: Layout, frames: int = 64, batch: int = 8, repeats: int = 3,
                   device: torch.device | None = None, names: Iterable[str] = ()) -> list[Cost]:
    """Measure backbones with their default configurations on clips without a missing point.

    Args:
        catalogue: Where backbones are looked up.
        layout: Joints V and persons M of the clips.
        frames: T.
        batch: Clips a forward pass.
        repeats: Timed passes, after one of warm-up; the median counts.
        device: CPU by default.
        names: Of the backbones; all of the registry by default.
    """
    place = device or torch.device("cpu")
    shape = (batch, layout.persons, frames, layout.num_joints)
    xyz = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(0)).to(place)
    clips = Batch(xyz, torch.ones(shape, dtype=torch.bool, device=place), torch.arange(batch), layout)
    return [_measure(catalogue, name, clips, repeats) for name in names or catalogue.names("backbones")]


def _measure(catalogue: Catalogue, name: str, clips: Batch, repeats: int) -> Cost:
    entry = catalogue.get("backbones", name)
    cls: type[Backbone] = entry.load()
    cfg = validate(cls.Config, entry.config, f"backbone {name}")
    try:
        cls.check(cfg, clips.layout, clips.xyz.shape[2])
    except SkelError as error:
        return Cost(name, cls.version, refused=error.message)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = cls(cfg, clips.layout).to(clips.xyz.device).eval()
    with torch.no_grad():
        flops = _flops(net, clips)
        net(clips.xyz, clips.valid, clips.layout)
        seconds = statistics.median(_seconds(net, clips) for _ in range(repeats))
    parameters = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return Cost(name, cls.version, net.dim, parameters, flops / 1e9, len(clips) / seconds)


def _seconds(net: Backbone, clips: Batch) -> float:
    if clips.xyz.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    net(clips.xyz, clips.valid, clips.layout)
    if clips.xyz.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _flops(net: Backbone, clips: Batch) -> float:
    """Operations of one clip."""
    unknown = {  # to torch's counter, on CPUs; the first is that of `ssl_skel.nn.products`
        torch.ops.mkldnn._linear_pointwise: _linear_flops,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    with FlopCounterMode(display=False, custom_mapping=unknown) as counter:
        net(clips.xyz[:1], clips.valid[:1], clips.layout)
    return float(counter.get_total_flops())


def _linear_flops(x: tuple[int, ...], weight: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
    """(n, c) times (c, o)."""
    return 2 * math.prod(x) * weight[0]


def _attention_flops(query: tuple[int, ...], key: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
    """(..., n, d) times (..., m, d), and what comes of it times (..., m, d)."""
    return 4 * math.prod(query) * key[-2]


def as_rows(costs: Iterable[Cost]) -> list[dict[str, Any]]:
    """Plain data, figures rounded to what they are good for."""
    return [{"name": c.name, "version": c.version, "dim": c.dim, "parameters": c.parameters,
             "gflops": round(c.gflops, 3), "clips_per_s": round(c.clips_per_s, 1), "refused": c.refused}
            for c in costs]
