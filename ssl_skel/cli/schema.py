"""``ssl-skel schema``: JSON Schemas, so that editors complete and check what a person writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssl_skel import fsio
from ssl_skel.errors import UsageMistake

if TYPE_CHECKING:
    from ssl_skel.schema import Model

NAMES = ("plugin", "registry", "suite", "settings", "train", "record", "failure")


@click.command()
@click.argument("what", type=click.Choice(NAMES), default="plugin")
@click.option("--out", type=click.Path(path_type=Path), help="Write all of them to this folder instead, as "
                                                             "NAME.schema.json.")
def schema(what: str, out: Path | None) -> None:
    """Print the JSON Schema of a card, a registry, a suite, a --config file, the training keys, a record or a failure.

    An editor with a YAML language server completes and checks a file whose first line is
    `# yaml-language-server: $schema=PATH`, where PATH leads to one of these.
    """
    if out is None:
        click.echo(_text(_models()[what]))
        return
    if not out.is_dir():
        raise UsageMistake(f"no folder {out}", "Make it, or choose another with --out.")
    for name, model in _models().items():
        path = out / f"{name}.schema.json"
        fsio.write_atomic(path, _text(model) + "\n")
        click.echo(f"wrote {path}")


def _models() -> dict[str, type[Model]]:
    from ssl_skel.bench.record import Failure, Record
    from ssl_skel.schema import PluginCard, RegistryFile, SettingsFile, Suite, TrainConfig

    models = (PluginCard, RegistryFile, Suite, SettingsFile, TrainConfig, Record, Failure)
    return dict(zip(NAMES, models, strict=True))


def _text(model: type[Model]) -> str:
    body = model.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **body}, indent=1)
