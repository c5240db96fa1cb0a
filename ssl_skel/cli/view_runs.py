"""``ssl-skel view`` of runs: repainting, features, curves, robustness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from ssl_skel.cli import options
from ssl_skel.cli.view import finish, picture_out

if TYPE_CHECKING:
    from ssl_skel.data.open import SplitView
    from ssl_skel.view.features import Colour, Method

run_option = click.option("--run", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
                          help="Output folder of `ssl-skel bench run`.")


@click.command()
@click.argument("pretrainings", nargs=-1)
@run_option
@picture_out
def curves(pretrainings: tuple[str, ...], run: Path, out: Path | None) -> None:
    """Draw the training curves of a run.

    PRETRAININGS are plugins or beginnings of ids; all of them where none is named.
    """
    from ssl_skel.view.curves import draw_curves, load_curves
    from ssl_skel.view.output import picture_path
    from ssl_skel.view.style import styled

    path = picture_path(out, "curves", *pretrainings)
    found = load_curves(run, pretrainings)
    with styled():
        finish(draw_curves(found, run), path, f"Training curves of {run.resolve().name}")


@click.command()
@click.argument("pretraining", default="")
@run_option
@click.option("--split", default="", metavar="SPLIT", help="Clips of this split [default: the pretraining's].")
@click.option("--part", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--stream", "streams", multiple=True, metavar="ENCODER", help="Only these encoders [default: all].")
@click.option("--method", type=click.Choice(["tsne", "pca"]), default="tsne", show_default=True)
@click.option("--color", type=click.Choice(["class", "subject", "view"]), default="class", show_default=True)
@click.option("--limit", type=click.IntRange(3), default=2000, show_default=True, help="At most so many clips.")
@options.data_root
@options.plugins
@picture_out
def features(pretraining: str, run: Path, split: str, part: str, streams: tuple[str, ...], method: str, color: str,
             limit: int, data_root: Path, plugin_paths: tuple[str, ...], out: Path | None) -> None:
    """Draw the frozen features of a PRETRAINING, and print their silhouettes.

    PRETRAINING is a plugin, PLUGIN:BACKBONE, or the beginning of an id; none where the run has only one.
    """
    from rich.console import Console

    from ssl_skel.view.features import draw_features, load_features
    from ssl_skel.view.output import picture_path
    from ssl_skel.view.runs import choose_pretraining
    from ssl_skel.view.style import styled

    card = choose_pretraining(run, pretraining)
    path = picture_path(out, "features", card.cell.plugin, card.cell.dataset, color)
    with Console(stderr=True).status(f"encoding clips of {card.cell.dataset}"):
        found = load_features(run, card, data_root, split=split, part=part, streams=streams, limit=limit,
                              plugin_paths=plugin_paths)
    with styled():
        figure, scores = draw_features(found, cast("Method", method), cast("Colour", color))
        for name, score in scores.items():
            click.echo(f"silhouette by {name}: {score:+.3f}")
        finish(figure, path, f"Features of {found.title}")


@click.command()
@click.option("--records", "root", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Output folder that holds the records; leaderboards/ for the committed ones.")
@click.option("-d", "--dataset", default="", metavar="DATASET/SPLIT", help="Where the records are of several.")
@picture_out
def robustness(root: Path, dataset: str, out: Path | None) -> None:
    """Draw accuracy under corruption, from the records of the robustness protocol."""
    from ssl_skel.bench.store import RecordStore
    from ssl_skel.view.output import picture_path
    from ssl_skel.view.robustness import draw_robustness, gather
    from ssl_skel.view.style import styled

    path = picture_path(out, "robustness", *([dataset] if dataset else []))
    place, rows, classes = gather(RecordStore(root).all(), dataset)
    with styled():
        finish(draw_robustness(place, rows, classes), path, f"Robustness on {place}")


@click.command()
@click.argument("dataset")
@click.argument("clip")
@click.option("--run", type=click.Path(path_type=Path), metavar="DIR",
              help="Use the frozen encoders of a pretraining in this output folder [default: train some briefly].")
@click.option("--pretraining", default="colorization", show_default=True, metavar="ID", help="Which one of the run.")
@click.option("--steps", type=click.IntRange(0, 100_000), default=300, show_default=True,
              help="Training steps: of the decoder with --run, else of everything.")
@click.option("--mask", type=click.Choice(["none", "random", "frame", "segment", "joint", "part"]),
              help="What the encoder does not see [default: as pretrained, or random].")
@click.option("--mask-ratio", type=click.FloatRange(0, 1, max_open=True), metavar="SHARE",
              help="How much of it [default: as pretrained, or 0.4].")
@click.option("-s", "--seed", type=click.IntRange(0), default=0, show_default=True)
@options.data_root
@picture_out
def repaint(dataset: str, clip: str, run: Path | None, pretraining: str, steps: int, mask: str | None,
            mask_ratio: float | None, seed: int, data_root: Path, out: Path | None) -> None:
    """Draw input, masked input, repainted output and target of CLIP, side by side.

    With --run the encoders of a finished pretraining stay as they are, and a small decoder learns to paint from their
    codes (a run does not keep the pretraining's own); one that is not finished paints with what its checkpoint holds.
    Without --run the method is trained for so many steps on DATASET.
    """
    from ssl_skel.view.output import picture_path
    from ssl_skel.view.painter import paint
    from ssl_skel.view.repaint import draw_repaint
    from ssl_skel.view.scene import find_clip, load_batch, make_scene
    from ssl_skel.view.style import styled

    path = picture_path(out, "repaint", dataset, clip)
    asked = {key: value for key, value in (("mask", mask), ("mask_ratio", mask_ratio)) if value is not None}
    prepared = _prepare(dataset, data_root, run, pretraining, asked, seed)
    opened = prepared.view.dataset
    position = find_clip(opened, clip)
    batch = load_batch(opened, position, frames=prepared.view.frames, preprocessing=prepared.view.preprocessing.name)
    note = prepared.note
    if prepared.learns:
        _train(prepared, steps, seed)
        note += f"{prepared.learns} trained for {steps:,} steps on {len(prepared.view.train):,} training clips"
    views, painted = paint(prepared.task, batch, seed)
    with styled():
        figure = draw_repaint(make_scene(dataset, opened, position, batch), views, painted, prepared.task.cfg, note)
        finish(figure, path, f"Repainting of {dataset} clip {clip}")


_DECODER = "a decoder"


class _Prepared(NamedTuple):
    """A task, on what it may train, and what of it still learns."""

    task: Any
    view: SplitView
    learns: str
    note: str


def _prepare(dataset: str, data_root: Path, run: Path | None, pretraining: str, asked: dict[str, Any],
             seed: int) -> _Prepared:
    from ssl_skel.data.dataset import card_of
    from ssl_skel.data.open import open_split
    from ssl_skel.errors import UsageMistake
    from ssl_skel.view.painter import find_unfinished, fresh_task, frozen_task, resumed_task
    from ssl_skel.view.runs import choose_pretraining

    if run is None:
        view = open_split(dataset, next(iter(card_of(dataset).splits)), data_root, frames=40, incomplete=True)
        return _Prepared(fresh_task(view, {"mask": "random"} | asked, seed), view, "encoders and decoders", "")
    unfinished = find_unfinished(run, pretraining)
    card = None if unfinished else choose_pretraining(run, pretraining)
    cell = unfinished[0] if unfinished else card.cell  # type: ignore[union-attr]
    if cell.dataset != dataset:
        raise UsageMistake(f"pretraining {cell.id} saw {cell.dataset}, not {dataset}", "Choose a clip of that.")
    view = open_split(dataset, cell.split, data_root, preprocessing=cell.preprocessing.name,
                      frames=cell.train.frames, incomplete=True)
    if unfinished:
        note = f"{cell.title}, after {unfinished[1]['step']:,} steps"
        return _Prepared(resumed_task(*unfinished, view, asked), view, "", note)
    assert card is not None
    note = f"frozen encoders of {card.cell.title}, {card.cell.train.epochs} epochs; "
    return _Prepared(frozen_task(run, card, view, asked), view, _DECODER, note)


def _train(prepared: _Prepared, steps: int, seed: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ssl_skel.view.painter import train

    console = Console(stderr=True)
    columns = (TextColumn("painting"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, loss {task.fields[loss]}"),
               TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("painting", total=steps, loss="")
        train(prepared.task, prepared.view.train.clips, steps, seed, prepared.learns == _DECODER,
              lambda step, loss: bar.update(task, completed=step, loss=f"{loss:.3f}"))
