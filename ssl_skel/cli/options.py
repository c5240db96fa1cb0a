"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ssl_skel.data.dataset import default_root

F = TypeVar("F", bound=Callable[..., Any])


def data_root(command: F) -> F:
    """Add ``--data-root``."""
    return click.option("--data-root", type=click.Path(path_type=Path), default=default_root,
                        help="Folder of the prepared datasets [default: $SSL_SKEL_DATA or ./data].")(command)


def out(command: F) -> F:
    """Add ``--out``."""
    return click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
                        help="Output folder: records, predictions, pretrainings, boards.")(command)


def plugins(command: F) -> F:
    """Add ``--plugins`` (repeatable)."""
    return click.option("--plugins", "plugin_paths", multiple=True, metavar="PATH",
                        help="A plugin folder, a folder of them, or one with its own registry.yaml.")(command)


def as_json(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def selection(command: F) -> F:
    """Add the options that say what to run."""
    for option in reversed((
        click.option("--suite", metavar="SUITE", help="A suite of the registry."),
        click.option("-p", "--plugin", "names", multiple=True, metavar="PLUGIN",
                     help="Only these plugins; one that the suite does not list is added to it."),
        click.option("-b", "--backbone", "backbones", multiple=True, metavar="BACKBONE",
                     help="Use these backbones instead of the default."),
        click.option("-d", "--dataset", "datasets", multiple=True, metavar="DATASET[/SPLIT]",
                     help="These datasets instead of the suite's."),
        click.option("-t", "--target", "targets", multiple=True, metavar="DATASET[/SPLIT]",
                     help="Test on these datasets what was pretrained on the others (joints are mapped)."),
        click.option("-e", "--evaluator", "evaluators", multiple=True, metavar="EVALUATOR",
                     help="These evaluators instead of the suite's."),
        click.option("-s", "--seed", "seeds", multiple=True, type=click.IntRange(0), metavar="SEED",
                     help="These seeds instead of the suite's."),
        click.option("--only", multiple=True, metavar="ID", help="Only these evaluations of the plan."),
        click.option("--config", "config_files", multiple=True, metavar="FILE.yaml",
                     type=click.Path(path_type=Path), help="Override the keys that a file names; --set comes after."),
        click.option("--set", "settings", multiple=True, metavar="[PLUGIN:]KEY=VALUE",
                     help="Override a key: KEY of the method, train.KEY or backbone.KEY."),
        click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default=None,
                     help="Precision of matrix products [default: the suite's]."),
        click.option("--gpus-per-cell", "processes", type=click.IntRange(1), default=1, show_default=True, metavar="N",
                     help="Processes that share each cell: one a GPU, or as many on a CPU."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    )):
        command = option(command)
    return command


def given_words(context: click.Context, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Options of a command as they were given, so that a message can repeat the command.

    Args:
        context: Of the running command.
        without: Names of parameters to leave out.
    """
    words: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        if name in without or context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value, flag = context.params[name], option.opts[-1]
        if getattr(option, "is_flag", False):
            words.append(flag)
        else:
            words += [word for one in (value if option.multiple else (value,)) for word in (flag, _word(one))]
    return tuple(words)


def _word(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
