"""Speed of training steps of the baselines beside a straightforward implementation of the same steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl_skel.api import Batch, PretextTask
from ssl_skel.bench.peers.gru_loop import FrameLoop
from ssl_skel.bench.peers.mamp_textbook import TextbookMAMP
from ssl_skel.bench.peers.skeleton_views import crop_and_shear, loader, rotate_and_resize
from ssl_skel.bench.peers.stgcn_textbook import TextbookBYOL, TextbookMoCo, TextbookSTGCN
from ssl_skel.bench.resolve import Settings, resolve
from ssl_skel.bench.timing import compare
from ssl_skel.data.layouts import get_layout
from ssl_skel.errors import ContractFailed, UsageMistake
from ssl_skel.nn.bigru import BiGRU, BiGRUConfig
from ssl_skel.nn.one_thread import unsettled
from ssl_skel.registry import discover
from ssl_skel.runtime import make_deterministic, tame_allocator
from ssl_skel.schema import Suite, SuiteEntry

TOLERANCE = 1e-3
TWO_PERSONS = 0.2
"""Share of the clips with a second person, where there may be one; 26 of NTU's 120 classes are mutual actions."""


@dataclass(frozen=True)
class Size:
    """What is timed.

    Attributes:
        batch: Clips a step.
        frames: T.
        persons: M; of two, most clips hold one.
        steps: Training steps of one timing.
        repeats: Alternating timings; medians count.
        precision: ``fp32`` or ``bf16``, of our side; the peer is always fp32.
        keys: Keys of the backbone, for a smaller one.
    """

    batch: int
    frames: int
    persons: int
    steps: int
    repeats: int
    precision: str
    keys: dict[str, Any]

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise UsageMistake(f"bench speed has no precision {self.precision!r}", "Use fp32 or bf16.")
        if min(self.batch, self.frames, self.persons, self.steps, self.repeats) < 1 or self.batch < 2:
            raise UsageMistake("bench speed needs two clips or more and at least one of everything else")


def moco(batch: int = 32, frames: int = 48, persons: int = 1, steps: int = 2, repeats: int = 3,
         precision: str = "fp32", **keys: Any) -> dict[str, Any]:
    """Time SkeletonCLR: two views, ST-GCN of query and key, queue.

    Raises:
        ContractFailed: If the two encoders give different vectors.
    """
    size = Size(batch, frames, persons, steps, repeats, precision, keys)
    task = _task("moco", size)
    net, cfg = task.nets["joint"], task.cfg
    peer = TextbookMoCo(net.encoder, net.moco.net.head, cfg.queue, cfg.projection, cfg.momentum, cfg.temperature)
    return _two_views("moco", task, peer, peer.query[0], size)


def byol(batch: int = 32, frames: int = 48, persons: int = 1, steps: int = 2, repeats: int = 3,
         precision: str = "fp32", **keys: Any) -> dict[str, Any]:
    """Time SkeletonBYOL: two views through online and target ST-GCN.

    Raises:
        ContractFailed: If the two encoders give different vectors.
    """
    size = Size(batch, frames, persons, steps, repeats, precision, keys)
    task = _task("byol", size)
    net = task.nets["joint"]
    peer = TextbookBYOL(net.encoder, net.online.head, net.predictor, task.cfg.momentum)
    return _two_views("byol", task, peer, peer.online[0], size)


def mamp(batch: int = 16, frames: int = 120, persons: int = 1, steps: int = 2, repeats: int = 3,
         precision: str = "fp32", **keys: Any) -> dict[str, Any]:
    """Time masked motion prediction: view, motion-aware masking, encoder of the kept tokens, decoder of all.

    Raises:
        ContractFailed: If the two predictions of the same hidden tokens differ.
        UsageMistake: If the frames are no multiple of a token's.
    """
    size = Size(batch, frames, persons, steps, repeats, precision, keys)
    task = _task("mamp", size)
    if frames % task.size:
        raise UsageMistake(f"{frames} frames are no multiple of a token's {task.size}")
    peer = TextbookMAMP(task.model, task.cfg.tau, task.cfg.stride)
    whole = _clips(size, whole=True)
    people, there = whole.xyz.flatten(0, 1), whole.valid.flatten(0, 1)
    scores = torch.rand(len(people), frames // task.size * 25)
    with torch.no_grad():
        ours = task.model(people, there, scores)[0]
        difference = _difference("mamp", ours.flatten(2), peer.predict(people, scores)[0])
    return _steps("mamp", task, peer, partial(loader, view=rotate_and_resize, draws=1), difference, size)


def bigru(batch: int = 16, frames: int = 64, persons: int = 1, steps: int = 1, repeats: int = 3,
          precision: str = "fp32", **keys: Any) -> dict[str, Any]:
    """Time the GRU, forwards and backwards, against a loop over frames.

    Raises:
        ContractFailed: If the vectors of clips of one frame, which the loop encodes alike, differ.
    """
    size = Size(batch, frames, persons, steps, repeats, precision, keys)
    layout = get_layout("kinect_v2_25", persons)
    torch.manual_seed(0)
    ours = BiGRU(BiGRUConfig(**keys), layout)
    peer, clips = FrameLoop(ours), _clips(size)
    published, first = _as_published(clips), _clips(Size(batch, 1, persons, 1, 1, precision, keys), whole=True)
    with torch.no_grad():
        one = ours.eval()(first.xyz, first.valid, layout).pooled
        difference = _difference("bigru", one, peer.eval()(_as_published(first)))
    ours.train(), peer.train()

    def fused() -> None:
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = ours(clips.xyz, clips.valid, layout).pooled.square().mean()
            loss.backward()

    def loop() -> None:
        for _ in range(steps):
            peer(published).square().mean().backward()

    return _compare("bigru", fused, loop, difference, size)


def _task(plugin: str, size: Size) -> Any:
    """The plugin, a `PretextTask`, with its published configuration on NTU's skeleton."""
    layout = get_layout("kinect_v2_25", size.persons)
    entry = SuiteEntry(plugin=plugin, backbone=size.keys, train={"batch": size.batch, "frames": size.frames})
    suite = Suite(title="speed", datasets=("ntu60",), evaluators=("knn",), entries=(entry,))
    found = resolve(discover(), suite, entry, "ntu60", layout, Settings())
    torch.manual_seed(0)
    return found.task(found.config, lambda: found.backbone_class(found.backbone_config, layout), layout).train()


def _clips(size: Size, whole: bool = False) -> Batch:
    """Random walks, `steps` batches of them; absent persons unless `whole`."""
    gen, layout = torch.Generator().manual_seed(1), get_layout("kinect_v2_25", size.persons)
    count = size.batch if whole else size.batch * size.steps
    shape = (count, size.persons, size.frames, layout.num_joints)
    pose = torch.randn(count, size.persons, 1, layout.num_joints, 3, generator=gen)
    xyz = 0.3 * pose + 0.02 * torch.randn(*shape, 3, generator=gen).cumsum(2)
    valid = torch.ones(shape, dtype=torch.bool)
    if size.persons > 1 and not whole:
        valid[round(TWO_PERSONS * count):, 1:] = False
    return Batch(xyz * valid[..., None], valid, torch.arange(count), layout)


def _as_published(clips: Batch) -> Tensor:
    """(N, 3, T, V, M)."""
    return clips.xyz.permute(0, 4, 2, 3, 1).contiguous()


def _two_views(what: str, task: PretextTask, peer: torch.nn.Module, encoder: TextbookSTGCN | torch.nn.Module,
               size: Size) -> dict[str, Any]:
    whole, ours = _clips(size, whole=True), task.encoders()["joint"]
    with torch.no_grad():
        one = ours.eval()(whole.xyz, whole.valid, whole.layout).pooled
        difference = _difference(what, one, encoder.eval()(_as_published(whole)))
    task.train(), peer.train()
    return _steps(what, task, peer, partial(loader, view=crop_and_shear, draws=2), difference, size)


def _steps(what: str, task: PretextTask, peer: torch.nn.Module, load: Callable[..., Any], difference: float,
           size: Size) -> dict[str, Any]:
    """Compare training steps: views, forward, backward, SGD, and what follows a step."""
    clips, gen = _clips(size), torch.Generator().manual_seed(0)
    batches = load(_as_published(clips).numpy(), batch=size.batch)
    mine, theirs = (torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
                    for net in (task, peer))

    def ours() -> None:
        order = torch.randperm(len(clips), generator=gen)
        for number, index in enumerate(torch.split(order, size.batch)):
            with torch.no_grad():
                views = task.views(Batch(clips.xyz[index], clips.valid[index], index, clips.layout), gen)
            with torch.autocast("cpu", torch.bfloat16, enabled=size.precision == "bf16"):
                loss = task(views)["loss"]
            mine.zero_grad()
            loss.backward()
            mine.step()
            with torch.no_grad():
                task.after_step(number + 1, size.steps)

    def textbook() -> None:
        for views in batches:
            loss = peer(*views)
            theirs.zero_grad()
            loss.backward()
            theirs.step()

    return _compare(what, ours, textbook, difference, size)


def _compare(what: str, ours: Callable[[], None], peer: Callable[[], None], difference: float,
             size: Size) -> dict[str, Any]:
    """Alternate the two after one run of warm-up each; ours with the allocator and the kernels of a cell."""
    tame_allocator()
    make_deterministic(torch.device("cpu"))

    def plain() -> None:
        with unsettled():
            peer()

    ours()
    plain()
    result = compare(what, ours, plain, lambda one, other: {"difference": difference}, size.repeats)
    clips = size.batch * size.steps
    result["parts"] |= {"ours_clips_per_s": clips / result["ours_s"], "peer_clips_per_s": clips / result["peer_s"],
                        "precision": size.precision, "persons": size.persons}
    return result | {"size": [size.batch, size.frames, size.persons, size.steps]}


def _difference(what: str, ours: Tensor, theirs: Tensor) -> float:
    scale = float(theirs.abs().max())
    difference = float((ours - theirs).abs().max()) / scale
    if not difference < TOLERANCE:
        raise ContractFailed(f"{what}: the two sides differ by {difference:.2g} of the largest value")
    return difference
