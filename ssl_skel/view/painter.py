"""A decoder that paints clips back: trained briefly, with encoders of a run that stay as they are, or from scratch.

A run keeps the encoders of a finished pretraining and lets its decoders go, so what an encoder knows is shown by a
decoder that learns anew, from its frozen codes, what the pretraining's own had to learn. An unfinished pretraining
still has its own, in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ssl_skel import checkpoint
from ssl_skel.api import Backbone, Batch, Features, Layout, PretextTask
from ssl_skel.bench.cards import FILE, PretrainingCard
from ssl_skel.bench.cells import PretrainCell
from ssl_skel.bench.planfile import read_plan
from ssl_skel.data.loader import Clips
from ssl_skel.data.open import SplitView
from ssl_skel.data.ragged import Mode
from ssl_skel.errors import UsageMistake
from ssl_skel.seed import derive, generator
from ssl_skel.view.colours import METHOD, method

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODER = {"decoder_hidden": 256, "grid_extent": 3.0, "chamfer": "sum", "squared": True}
"""A decoder for pictures within minutes: a sixteenth of the work of the method's own, and the keys of a short schedule
(see the README of the reference method), without which nothing unfolds in hundreds of steps."""
RATE = 2e-3
BATCH = 16

Progress = Callable[[int, float], None]


def _quiet(step: int, loss: float) -> None:
    pass


@dataclass(frozen=True)
class Repainted:
    """One stream of one clip.

    Attributes:
        name: Of the stream.
        cloud: (P, 6) the painted cloud: recorded axes, colours.
        distance: Chamfer distance to the target: the sum of the two directed means of squared distances.
    """

    name: str
    cloud: NDArray[Any]
    distance: float


def frozen_task(run: Path, card: PretrainingCard, view: SplitView, mask: dict[str, Any]) -> PretextTask:
    """Build a pretraining's task with its encoders, which learn no more, and a small new decoder.

    Args:
        run: Output folder.
        card: Of the pretraining.
        view: Its split.
        mask: Keys of the method that say what is hidden.

    Raises:
        UsageMistake: If it is no pretraining of the reference method.
        DataMissing: If the weights are absent.
        DigestMismatch: If they are not those of the card.
    """
    from ssl_skel.bench.cell import build_task
    from ssl_skel.bench.encoders import load_encoders
    from ssl_skel.registry import discover

    if card.cell.plugin != METHOD:
        raise UsageMistake(f"pretraining {card.id} is of {card.cell.plugin}, which repaints nothing",
                           f"Choose one of {METHOD}.")
    config = card.cell.config | DECODER | mask
    task = build_task(discover(), card.cell.model_copy(update={"config": config}), view.layout)
    load_encoders(run / "pretrain" / card.id, task, card.encoders_sha256, torch.device("cpu"))
    return task


def find_unfinished(run: Path, wanted: str) -> tuple[PretrainCell, dict[str, Any]] | None:
    """Find a pretraining of the reference method that has a checkpoint, and so its own decoders, too.

    Args:
        run: Output folder.
        wanted: The beginning of an id, or the method's name.

    Returns:
        Its cell from the run's plan, and its state; None where there is none.
    """
    plan = read_plan(run)
    try:
        cells = [PretrainCell.model_validate(cell.raw) for cell in (plan.pretrainings if plan else ())]
    except ValidationError:
        return None
    for cell in cells:
        folder = run / "pretrain" / cell.id
        if cell.plugin == METHOD and (cell.id.startswith(wanted) or wanted == METHOD) and not (folder / FILE).exists():
            state = checkpoint.load(folder, cell.id)
            if state is not None:
                return cell, state
    return None


def resumed_task(cell: PretrainCell, state: dict[str, Any], view: SplitView, mask: dict[str, Any]) -> PretextTask:
    """Build the task of an unfinished pretraining as its checkpoint left it.

    Args:
        cell: From `find_unfinished`.
        state: From `find_unfinished`.
        view: Its split.
        mask: Keys of the method that say what is hidden.
    """
    from ssl_skel.bench.cell import build_task
    from ssl_skel.registry import discover

    task = build_task(discover(), cell.model_copy(update={"config": cell.config | mask}), view.layout)
    task.load_state_dict(state["task"])
    return task


def fresh_task(view: SplitView, mask: dict[str, Any], seed: int) -> PretextTask:
    """Build the reference method for a split as its card says, but with a small decoder.

    Args:
        view: The split.
        mask: Keys of the method that say what is hidden.
        seed: Of the weights.
    """
    from ssl_skel.bench.resolve import Settings, resolve
    from ssl_skel.registry import discover
    from ssl_skel.schema import Suite, SuiteEntry

    layout, name = view.layout, view.dataset.card.name
    streams = ["temporal", "spatial", *(["person"] if layout.persons > 1 else [])]
    entry = SuiteEntry(plugin=METHOD, config={"streams": streams, **DECODER, **mask})
    suite = Suite(title="repaint", datasets=(name,), evaluators=("knn",), entries=(entry,))
    found = resolve(discover(), suite, entry, name, layout, Settings())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        return found.task(found.config, lambda: found.backbone_class(found.backbone_config, layout), layout)


class _Known(Backbone):
    """Stands in for a frozen encoder: gives the codes that it gave for the clips of this step.

    Attributes:
        codes: (n, D) of all training clips.
        index: Positions of the clips of this step.
    """

    def __init__(self, codes: Tensor) -> None:
        nn.Module.__init__(self)
        self.codes, self.index, self.dim = codes, torch.arange(0), int(codes.shape[1])

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        return Features(self.codes[self.index])


def train(task: Any, clips: Clips, steps: int, seed: int, frozen: bool, progress: Progress = _quiet) -> None:
    """Train a task, or only its decoders, with Adam under one cosine.

    Args:
        task: From `frozen_task` or `fresh_task`.
        clips: Training clips; their `frames` are the cloud's.
        steps: Optimiser steps.
        seed: Of the clips and masks.
        frozen: Whether the encoders stay as they are; each clip is then encoded once, under one mask.
        progress: Told the step and the loss.
    """
    task.train()
    gen = generator(seed, "repaint")
    if not frozen:
        _descend(task, clips, steps, gen, "stratified", lambda index: None, progress)
        return
    encoders = dict(task.encoder.items())
    known = {name: _Known(codes) for name, codes in _encode(task, encoders, clips, gen).items()}
    task.encoder.update(known)

    def tell(index: Tensor) -> None:
        for stand_in in known.values():
            stand_in.index = index

    _descend(task, clips, steps, gen, "centred", tell, progress)
    task.encoder.update(encoders)


@torch.no_grad()
def _encode(task: Any, encoders: dict[str, Backbone], clips: Clips, gen: torch.Generator) -> dict[str, Tensor]:
    """Codes (n, D) of all clips, each masked as the method masks it."""
    found: dict[str, list[Tensor]] = {name: [] for name in encoders}
    for index in torch.arange(len(clips)).split(4 * BATCH):  # type: ignore[no-untyped-call]
        views = task.views(clips.batch(index), gen)
        for name, encoder in encoders.items():
            codes = encoder.eval()(views.xyz, views.visible, views.layout).pooled
            found[name].append(codes.float())
    return {name: torch.cat(parts) for name, parts in found.items()}


def _descend(task: Any, clips: Clips, steps: int, gen: torch.Generator, mode: Mode,
             tell: Callable[[Tensor], None], progress: Progress) -> None:
    learning = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for step in range(steps):
        index = torch.randint(len(clips), (min(BATCH, len(clips)),), generator=gen)
        tell(index)
        with torch.no_grad():
            views = task.views(clips.sample(index, clips.frames, mode, gen), gen)
        loss = task(views)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(step + 1, float(loss.detach()))


@torch.no_grad()
def paint(task: Any, batch: Batch, seed: int) -> tuple[Any, list[Repainted]]:
    """Paint one clip.

    Args:
        task: Trained.
        batch: The clip.
        seed: Of the mask.

    Returns:
        What the method worked on (``xyz``, ``visible``, ``valid``), and the painting of each stream.
    """
    task.eval()
    views = task.views(batch, generator(seed, "mask"))
    losses, cfg = task(views), task.cfg
    encoder_name = method().streams.encoder_name
    found = []
    for stream in task.streams:
        code = task.encoder[encoder_name(stream, cfg)](views.xyz, views.visible, views.layout).pooled
        cloud = task.decoder[stream.name](code)[0].float().numpy()
        found.append(Repainted(stream.name, cloud, float(losses[stream.name])))
    return views, found
