"""``ssl-skel data import``."""

from __future__ import annotations

from pathlib import Path

import click

from ssl_skel.cli import options


@click.command("import")
@click.argument("dataset")
@click.argument("files", nargs=-1, required=True, metavar="FILE...",
                type=click.Path(path_type=Path, readable=False))
@click.option("--format", "fmt", required=True, metavar="FORMAT", help="ctrgcn-npz, pyskl-pkl or crossclr-npy.")
@options.data_root
@click.option("--incomplete", is_flag=True, help="Accept a dataset from which clips are missing.")
@click.option("--force", is_flag=True, help="Replace an import of the same format.")
def import_data(dataset: str, files: tuple[Path, ...], fmt: str, data_root: Path, incomplete: bool,
                force: bool) -> None:
    """Bring in a preprocessed DATASET that you already hold; it becomes DATASET+FORMAT.

    Its data went through someone else's preprocessing, so it has a name and a digest of its own, and boards never
    put it beside results on raw-prepared data.
    """
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from ssl_skel.data.catalog import get_card
    from ssl_skel.data.importers.run import import_dataset

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:.0f} clips"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{dataset} ({fmt})", total=None)
        done = import_dataset(get_card(dataset), fmt, list(files), data_root, incomplete=incomplete, force=force,
                              progress=lambda clips: bar.advance(task, clips))
    click.echo(f"{len(done.store)} clips imported as {done.store.meta['dataset']}")
    for name, train, test, complete in done.splits:
        click.echo(f"  {name}: {train} train, {test} test" + ("" if complete else "; not complete"))
    click.echo(f"digest {done.store.digest}")
    click.echo(f"wrote {done.store.path}")
