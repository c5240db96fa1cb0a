"""``ssl-skel data labels``."""

from __future__ import annotations

from pathlib import Path

import click

from ssl_skel.cli import options


@click.command("labels")
@click.argument("dataset", metavar="DATASET[/SPLIT]")
@options.data_root
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=None,
              help="Folder of the files [default: labels in the data folder].")
def labels(dataset: str, data_root: Path, out: Path | None) -> None:
    """Write which clips of DATASET are labelled in semi-supervised evaluation.

    One file a training part: clip names for 1, 5, 10, 20 and 40 % in five draws, with digests. The same names always
    give the same draws. The evaluators semi-1 to semi-40 use the file where it is there and note its digest.
    """
    from ssl_skel.data.dataset import card_of
    from ssl_skel.data.label_sets import draw_sets, write_sets
    from ssl_skel.data.open import open_split

    name, _, only = dataset.partition("/")
    card = card_of(name)
    if only:
        card.get_split(only)
    seen: set[str] = set()
    for split in [only] if only else list(card.splits):
        view = open_split(name, split, data_root)
        if view.train_digest in seen:
            continue  # the training part of another split
        seen.add(view.train_digest)
        sets = draw_sets(view)
        path = write_sets(sets, out or data_root / "labels")
        counts = ", ".join(f"{percent} %: {len(draws[0])}" for percent, draws in sets.sets.items())
        click.echo(f"{path}  {len(view.train)} training clips; labelled {counts}")
