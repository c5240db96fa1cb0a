"""Entry point of ``ssl-skel``: lazy groups, and exit codes that mean something."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from ssl_skel import __version__, errors


class LazyGroup(click.Group):
    """A group that imports a command when it is called or asked for help.

    Args:
        lazy: Command name -> (``module:attribute``, one-line help).
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order in which they were declared."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; an unknown one is an error that suggests the nearest."""
        if cmd_name in self.lazy:
            module, _, attribute = self.lazy[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        found = super().get_command(ctx, cmd_name)
        if found is None and not ctx.resilient_parsing:
            raise errors.UnknownName("command", cmd_name, self.list_commands(ctx))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        rows = [(name, text) for name, (_, text) in self.lazy.items()]
        rows += [(name, command.get_short_help_str(80)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, lazy={
    "bench": ("ssl_skel.cli.bench:bench", "Run suites, show plans and status, render and compare boards."),
    "data": ("ssl_skel.cli.data:data", "Prepare, verify, show and audit datasets."),
    "plugin": ("ssl_skel.cli.plugin:plugin", "List, show and check pretext tasks."),
    "view": ("ssl_skel.cli.view:view", "Draw clips, skeleton clouds, features, curves, robustness and audits."),
    "export": ("ssl_skel.cli.export:export", "Write an encoder of a run to a folder that can be shared."),
    "doctor": ("ssl_skel.cli.doctor:doctor", "Say what this machine and installation can do."),
    "schema": ("ssl_skel.cli.schema:schema", "Print the JSON Schema of cards, registries, suites and records."),
})
@click.version_option(__version__, prog_name="ssl-skel")
def cli() -> None:
    """Benchmark self-supervised skeleton action recognition.

    Start with `ssl-skel bench run --suite smoke`. Exit codes: 0 all cells ok; 1 some failed, board still written, or an
    output that can't be written; 2 usage or a bad card; 3 contract check failed; 4 data missing or digest mismatch;
    130 interrupted.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        code = errors.INTERRUPTED
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        code = errors.INTERRUPTED
    except click.UsageError as error:
        error.show()
        code = errors.USAGE
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = errors.SOME_FAILED
    sys.exit(code if isinstance(code, int) else errors.OK)
