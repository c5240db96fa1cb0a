"""``ssl-skel export``: an encoder out of a run, into a folder that can be shared."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ssl_skel.cli import options
from ssl_skel.errors import UsageMistake


@click.command()
@click.argument("source", metavar="ID|FOLDER")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="New folder for weights and card.")
@options.out
@options.plugins
@options.as_json
def export(source: str, to: Path, out: Path, plugin_paths: tuple[str, ...], as_json: bool) -> None:
    """Write the encoders of a finished pretraining (safetensors and a JSON card) to a folder of their own.

    ID is that of a pretraining or of a record under --out; FOLDER is its pretrain/ID. In Python,
    `ssl_skel.load_encoder` takes the folder.
    """
    from ssl_skel.encoding.card import read_encoder_card
    from ssl_skel.encoding.files import export_encoder

    folder = export_encoder(_pretraining(source, out), to, plugins=plugin_paths)
    card = read_encoder_card(folder)
    if as_json:
        click.echo(json.dumps(card.model_dump(mode="json", by_alias=True), indent=1))
        return
    click.echo(card.title)
    for name, stream in card.streams.items():
        needs = "" if stream.modality else f"; needs the plugin {card.provenance.cell.plugin!r} to load"
        click.echo(f"  {name}: {stream.dim} features a clip{needs}")
    click.echo(f"sha256 {card.weights.sha256}\nwrote {folder}")


def _pretraining(source: str, out: Path) -> Path:
    from ssl_skel.bench.store import ID, RecordStore

    if not ID.match(source):
        if not Path(source).is_dir():  # only in a folder that is there can anything be missing
            raise UsageMistake(f"{source!r} is no folder, and no id of a pretraining or record under {out}",
                               f"Ids are 16 of 0-9a-f; `ls {out / 'pretrain'}` shows those of the pretrainings.")
        return Path(source)
    store = RecordStore(out)
    if store.pretrain_folder(source).is_dir():
        return store.pretrain_folder(source)
    if not any(record.id == source for record in store.scan()[0]):
        raise UsageMistake(f"{out} has no pretraining and no record {source}", "Give its folder with --out.")
    return store.pretrain_folder(store.read(source).pretrain_id)
