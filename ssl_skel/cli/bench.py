"""``ssl-skel bench``: run suites, plan them, watch them, render boards, time the suite's own work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssl_skel import errors
from ssl_skel.cli import options
from ssl_skel.cli.main import LazyGroup
from ssl_skel.cli.show_plan import show_plan

if TYPE_CHECKING:
    from ssl_skel.bench.cells import Plan


@click.group(cls=LazyGroup, lazy={
    "board": ("ssl_skel.cli.board:board", "Render leaderboards from records, or check them."),
    "compare": ("ssl_skel.cli.board:compare", "Compare two plugins clip by clip."),
    "clean": ("ssl_skel.cli.clean:bench", "Delete cached features and what killed runs left, never a result."),
    "verify": ("ssl_skel.cli.board:verify", "Check records against their seals, predictions and scores."),
})
def bench() -> None:
    """Run suites, show plans and status, render and compare boards."""


def _parse_shard(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    number, slash, count = value.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise errors.UsageMistake(f"--shard {value[:40]!r} is not I/N", "For example --shard 1/4, to --shard 4/4.")
    return int(number), int(count)


@bench.command()
@options.selection
@options.out
@options.data_root
@options.plugins
@click.option("--executor", default="process", show_default=True, help="inline, process, slurm, ray, or another one.")
@click.option("--executor-set", "settings_of_executor", multiple=True, metavar="KEY=VALUE",
              help="A key of the executor, such as partition=gpu (see docs/executors.md).")
@click.option("--jobs", type=click.IntRange(1), default=None,
              help="Cells at once [default: one a GPU, or one on a CPU; what a cluster takes].")
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads a process [default: all / jobs].")
@click.option("--shard", callback=_parse_shard, metavar="I/N",
              help="Only every N-th pretraining, from the I-th, with its evaluations: N machines share a run.")
@click.option("--rerun", type=click.Choice(["missing", "failed", "stale", "all"]), default="missing",
              show_default=True, help="Which cells to run.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--logger", "loggers", multiple=True, metavar="NAME", help="Show curves there too: csv, tensorboard...")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=None, metavar="H",
              help="Hours after which a cell is killed.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@options.as_json
def run(out: Path, data_root: Path, plugin_paths: tuple[str, ...], executor: str, dry_run: bool, timeout: float | None,
        settings_of_executor: tuple[str, ...], jobs: int | None, threads: int | None, shard: tuple[int, int] | None,
        rerun: str, fail_fast: bool, loggers: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Pretrain, evaluate and rank. Finished cells are kept: the same command again does only what is missing."""
    from ssl_skel.bench.request import Asked, plan_of
    from ssl_skel.bench.run import RunOptions, run_plan
    from ssl_skel.registry import discover

    catalogue = discover(plugin_paths)
    make = catalogue.load("executors", executor)
    plan = plan_of(Asked(**asked, remote=getattr(make, "remote", False)), catalogue, data_root)
    if dry_run:
        show_plan(plan.shard(*shard) if shard else plan, out, as_json)
        raise SystemExit(_planning_code(plan))
    code = run_plan(plan, catalogue, make, RunOptions(
        out=out, data_root=data_root, plugins=plugin_paths, device=asked["device"], jobs=jobs, threads=threads,
        processes=asked["processes"], executor_settings=settings_of_executor, shard=shard,
        rerun=rerun, fail_fast=fail_fast, loggers=loggers, timeout_h=timeout, as_json=as_json,
        words=options.given_words(click.get_current_context(), without=frozenset({"rerun", "as_json"}))))
    raise SystemExit(code)


@bench.command("plan")
@options.selection
@click.option("--records", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Output folder with earlier records, from which costs are estimated.")
@options.data_root
@options.plugins
@options.as_json
def plan_(records: Path, data_root: Path, plugin_paths: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Print which cells a run would consist of: resolved configurations, and what earlier runs say of their cost."""
    from ssl_skel.bench.request import Asked, plan_of
    from ssl_skel.registry import discover

    plan = plan_of(Asked(**asked), discover(plugin_paths), data_root)
    show_plan(plan, records, as_json)
    raise SystemExit(_planning_code(plan))


@bench.command()
@options.out
@click.option("--watch", is_flag=True, help="Go on until nothing is missing.")
@click.option("--every", type=click.FloatRange(min=0.1), default=2.0, show_default=True, metavar="S",
              help="Seconds between two looks, with --watch.")
@options.as_json
def status(out: Path, watch: bool, every: float, as_json: bool) -> None:
    """Say which cells of the last plan are done, failed or missing, what runs where, and how long the rest takes."""
    from ssl_skel.cli.show_status import show_status, watch_status

    if watch:
        watch_status(out, every, as_json)
    else:
        show_status(out, as_json)


@bench.command()
@click.argument("what")
@click.option("--batch", type=click.IntRange(1), default=None, help="Clouds or clips a step.")
@click.option("--points", type=click.IntRange(1), default=None, help="Points a cloud (scc-step).")
@click.option("--k", type=click.IntRange(1), default=None, help="Neighbours (scc-step).")
@click.option("--frames", type=click.IntRange(1), default=None, help="Frames a clip (store, moco, byol, mamp, bigru).")
@click.option("--persons", type=click.IntRange(1), default=None,
              help="Persons a clip, of which most hold one (moco, byol, mamp, bigru).")
@click.option("--train", type=click.IntRange(1), default=None, help="Training clips (linear-probe, knn).")
@click.option("--test", type=click.IntRange(1), default=None, help="Test clips (knn).")
@click.option("--dim", type=click.IntRange(1), default=None, help="Features a clip (linear-probe, knn).")
@click.option("--classes", type=click.IntRange(2), default=None, help="Classes (linear-probe, knn).")
@click.option("--repeats", type=click.IntRange(1), default=None, help="Alternating runs; medians are printed.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default=None, help="Matrix products.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), default=None,
              help="Also draw the figures of scc-scaling here, .svg or .png.")
@options.as_json
def speed(what: str, as_json: bool, plot: Path | None, **sizes: Any) -> None:
    """Time a named piece of work beside a plain implementation of the same work, in one run."""
    from ssl_skel.bench.speed import SPEEDS, measure

    if what not in SPEEDS:
        raise errors.UnknownName("piece of work", what, SPEEDS)
    if plot and what != "scc-scaling":
        raise errors.UsageMistake(f"bench speed {what} draws nothing", "--plot belongs to scc-scaling.")
    result = measure(what, {key: value for key, value in sizes.items() if value is not None})
    if plot:
        from ssl_skel.bench.scaling_plot import draw

        draw(result["rows"], plot)
    if as_json:
        click.echo(json.dumps(result))
        return
    if "rows" in result:
        _show_scaling(result)
        return
    click.echo(f"{what}: {result['ours_s']:.3g} s against {result['peer_s']:.3g} s, {result['ratio']:.2f} x "
               f"({result['cpu_ratio']:.2f} x in processor time); peak "
               f"{result['ours_peak_mb']:.0f} MB against {result['peer_peak_mb']:.0f} MB")
    for name, value in result["parts"].items():
        click.echo(f"  {name}: {value}")


def _show_scaling(result: dict[str, Any]) -> None:
    click.echo("varied   clouds   points    k   s a step   peak MB")
    for row in result["rows"]:
        click.echo(f"{row['axis']:<8} {row['batch']:6d} {row['points']:8d} {row['k']:4d} {row['seconds']:10.3f} "
                   f"{row['peak_mb']:9.0f}")
    click.echo(f"memory grows as points to the power {result['slope']:.2f}")


def _planning_code(plan: Plan) -> int:
    if plan.missing:
        return errors.DATA
    return errors.USAGE if plan.refused else errors.OK
