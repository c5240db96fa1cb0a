"""``ssl-skel view``: pictures of clips and datasets; those of runs stand in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssl_skel.cli import options
from ssl_skel.cli.main import LazyGroup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RUNS = "ssl_skel.cli.view_runs"

picture_out = click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
                           help="The file; its suffix (.png or .svg) is the format [default: a PNG here].")


@click.group(cls=LazyGroup, lazy={
    "repaint": (f"{_RUNS}:repaint", "What a trained encoder keeps of a clip, painted back."),
    "features": (f"{_RUNS}:features", "Features of a pretraining as t-SNE or PCA, with silhouettes."),
    "curves": (f"{_RUNS}:curves", "Training curves of a run."),
    "robustness": (f"{_RUNS}:robustness", "Accuracy under corruption, from records."),
})
def view() -> None:
    """Draw clips, skeleton clouds, features, curves, robustness and audits."""


def finish(figure: Figure, path: Path, title: str) -> None:
    """Save a picture and say where it is."""
    from ssl_skel.view.output import save

    click.echo(f"wrote {save(figure, path, title)}")


@view.command()
@click.argument("dataset")
@click.argument("clip")
@click.option("--frames", type=click.IntRange(2, 512), default=40, show_default=True, help="T of the cloud.")
@click.option("--preprocessing", metavar="FAMILY", default="", help="[default: the dataset's]")
@click.option("--turn", type=float, default=25.0, show_default=True, help="Degrees that you walk around the clip.")
@click.option("--lift", type=click.FloatRange(-90, 90), default=12.0, show_default=True,
              help="Degrees that you look down.")
@options.data_root
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="The file; .png, .svg, or .html for a page to turn and play [default: a PNG here].")
def cloud(dataset: str, clip: str, frames: int, preprocessing: str, turn: float, lift: float, data_root: Path,
          out: Path | None) -> None:
    """Draw the skeleton cloud of CLIP, plain and in the colours of the reference method.

    CLIP is the clip's name, or a number for its position in DATASET. An .html file is a page to play, turn and colour,
    with mouse, finger or keyboard, that needs no network.
    """
    from ssl_skel.data.dataset import open_dataset
    from ssl_skel.view import output
    from ssl_skel.view.camera import Camera
    from ssl_skel.view.cloud import draw_cloud
    from ssl_skel.view.page import render_page
    from ssl_skel.view.scene import find_clip, load_batch, make_scene
    from ssl_skel.view.style import styled

    path = output.picture_path(out, "cloud", dataset, clip, suffixes=(*output.PICTURES, ".html"))
    opened = open_dataset(dataset, data_root)
    position = find_clip(opened, clip)
    batch = load_batch(opened, position, frames=frames, preprocessing=preprocessing)
    scene = make_scene(dataset, opened, position, batch)
    if path.suffix.lower() == ".html":
        click.echo(f"wrote {output.write(path, render_page(scene))}")
        return
    with styled():
        finish(draw_cloud(scene, Camera(turn, lift)), path, f"Skeleton cloud of {scene.caption}: {scene.title}")


@view.command()
@click.argument("dataset")
@click.option("--clips", type=click.IntRange(1, 12), default=5, show_default=True, help="Clips a class.")
@options.data_root
@picture_out
def sheet(dataset: str, clips: int, data_root: Path, out: Path | None) -> None:
    """Draw a contact sheet of DATASET: a few clips of every class."""
    from ssl_skel.data.dataset import open_dataset
    from ssl_skel.view.output import picture_path
    from ssl_skel.view.sheet import draw_sheet
    from ssl_skel.view.style import styled

    path = picture_path(out, "sheet", dataset)
    opened = open_dataset(dataset, data_root)
    with styled():
        finish(draw_sheet(dataset, opened, clips), path, f"Contact sheet of {dataset}")


@view.command()
@click.argument("dataset")
@options.data_root
@picture_out
def audit(dataset: str, data_root: Path, out: Path | None) -> None:
    """Audit DATASET and draw what is wrong with it: leaks of the splits, broken clips, the worst pairs."""
    from rich.console import Console

    from ssl_skel.data.audit.run import audit_dataset
    from ssl_skel.data.dataset import open_dataset
    from ssl_skel.view.audit import draw_audit
    from ssl_skel.view.output import picture_path
    from ssl_skel.view.style import styled

    path = picture_path(out, "audit", dataset)
    opened = open_dataset(dataset, data_root)
    with Console(stderr=True).status(f"auditing {dataset}") as status:
        report = audit_dataset(dataset, opened, stage=lambda text: status.update(f"{dataset}: {text}"))
    with styled():
        finish(draw_audit(report, opened), path, f"Audit of {dataset}")
