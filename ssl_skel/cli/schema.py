"""``ssl-skel schema``: JSON Schemas, so that editors complete and check cards."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("what", type=click.Choice(["plugin", "registry", "suite", "train", "record", "failure"]),
                default="plugin")
def schema(what: str) -> None:
    """Print the JSON Schema of a plugin card, the registry, a suite, the training keys, a record or a failure."""
    from ssl_skel.bench.record import Failure, Record
    from ssl_skel.schema import Model, PluginCard, RegistryFile, Suite, TrainConfig

    models: dict[str, type[Model]] = {"plugin": PluginCard, "registry": RegistryFile, "suite": Suite,
                                        "train": TrainConfig, "record": Record,
             "failure": Failure}
    body = models[what].model_json_schema(by_alias=True)
    click.echo(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **body}, indent=1))
