"""``ssl-skel bench board``, ``compare`` and ``verify``: what is done with finished records. Nothing here trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ssl_skel import errors
from ssl_skel.cli import options
from ssl_skel.errors import SkelError, UsageMistake

if TYPE_CHECKING:
    from ssl_skel.bench.board.files import Rendered
    from ssl_skel.bench.compare import Comparison, Comparisons
    from ssl_skel.bench.record import Record
    from ssl_skel.bench.stats import Difference, SubjectDifference
    from ssl_skel.bench.store import RecordStore
    from ssl_skel.schema import PluginCard

records_option = click.option(
    "--records", "root", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
    help="Output folder that holds the records; leaderboards/ for the committed ones.")


@click.command()
@click.option("--suite", metavar="SUITE", help="Only the records of this suite [default: all].")
@records_option
@click.option("--format", "form", type=click.Choice(["md", "csv", "json", "html", "tex"]),
              help="Print this format and write nothing [default: print a table, write every format].")
@click.option("--baseline", metavar="PLUGIN", help="Compare with this plugin [default: the plan's, else random].")
@click.option("--incomplete", is_flag=True, help="Show rows that lack planned seeds; they are not ranked.")
@click.option("--check", is_flag=True, help="Check every record, and every board byte for byte; write nothing.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the board, or with --format its file.")
@click.option("--pages/--no-pages", default=None,
              help="Also write a page for each method, dataset and cell [default: as the board has them, else yes].")
@options.plugins
def board(suite: str | None, root: Path, form: str | None, baseline: str | None, incomplete: bool, check: bool,
          out: Path | None, pages: bool | None, plugin_paths: tuple[str, ...]) -> None:
    """Render leaderboards from records, or check them."""
    from ssl_skel.bench.board import BoardRequest, check_boards, make_board
    from ssl_skel.bench.store import RecordStore

    store, current = RecordStore(root), _current(plugin_paths)
    if check:
        names = check_boards(store, suite, current)
        click.echo(f"{root}: records and boards agree ({', '.join(names)})")
        return
    rendered = make_board(store, BoardRequest(suite, baseline, incomplete, current, cards=_cards(plugin_paths),
                                              pages=False if form else pages))
    if not rendered.manifest.records and not incomplete:
        raise UsageMistake(f"{root} holds no records{f' of suite {suite!r}' if suite else ''}",
                           "Run `ssl-skel bench run` first, or give --records.")
    if form:
        _print_format(rendered, form, out)
    else:
        paths = _save(rendered, root, out)  # first: a folder that is refused costs no page of output
        _print_table(rendered)
        for path in paths:
            click.echo(str(path), err=True)


def _current(plugin_paths: tuple[str, ...]) -> Callable[[Record], Mapping[str, str]]:
    from ssl_skel.bench.staleness import digests_of_today
    from ssl_skel.registry import discover

    return digests_of_today(discover(plugin_paths))


def _cards(plugin_paths: tuple[str, ...]) -> dict[str, PluginCard]:
    from ssl_skel.registry import discover

    return discover(plugin_paths).plugin_cards()


def _print_format(rendered: Rendered, form: str, out: Path | None) -> None:
    text = rendered.text(form)
    if out is None:
        click.echo(text, nl=False)
        return
    from ssl_skel.fsio import write_atomic

    write_atomic(out, text)
    click.echo(str(out))


def _print_table(rendered: Rendered) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        click.echo(rendered.text("md"), nl=False)
        return
    from ssl_skel.bench.board.text import print_board

    print_board(rendered.board, console)


def _save(rendered: Rendered, root: Path, out: Path | None) -> list[Path]:
    from ssl_skel.bench.board import save_board
    from ssl_skel.fsio import make_folder, output_error

    if out is None:
        folder = make_folder(root, "boards", rendered.board.name)
    else:
        folder = out
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from None
    return save_board(rendered, folder)


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@records_option
@click.option("--suite", metavar="SUITE", help="Only what the board of this suite shows.")
@click.option("-d", "--dataset", metavar="DATASET[/SPLIT]", help="Only this dataset.")
@click.option("-e", "--evaluator", metavar="EVALUATOR", help="Only this protocol.")
@click.option("--by-subject", is_flag=True, help="Compare over whole subjects, too, as the prepared data names them.")
@options.data_root
@options.as_json
def compare(one: str, other: str, root: Path, suite: str | None, dataset: str | None, evaluator: str | None,
            by_subject: bool, data_root: Path, as_json: bool) -> None:
    """Compare A with B clip by clip, wherever both were run, and over all test sets.

    A and B are record ids, or plugins; after colons stands what else their rows must have (label, backbone, streams
    or fusion), as in `colorization:temporal+spatial:concat`.
    """
    from ssl_skel.bench.board.files import suite_records
    from ssl_skel.bench.compare import compare as compare_rows
    from ssl_skel.bench.performers import Performers
    from ssl_skel.bench.store import RecordStore

    store = RecordStore(root)
    name, _, split = (dataset or "").partition("/")
    records = [record for record in (suite_records(store, suite) if suite else store.all())
               if name in ("", record.cell.dataset) and split in ("", record.cell.split)
               and evaluator in (None, record.cell.evaluator)]
    if not records:
        raise UsageMistake(f"{root} holds no such records", "Run `ssl-skel bench run` first, or give --records.")
    found = compare_rows(store, one, other, records, Performers(data_root) if by_subject else None)
    if as_json:
        click.echo(json.dumps(_comparison_data(found), indent=1))
        return
    for item in found.each:
        click.echo(_comparison_text(item))
    for protocol, overall in found.over_all.items():
        joined = f", {overall.sets} when those that share clips are joined" if overall.sets < overall.splits else ""
        click.echo(f"over {overall.splits} splits{joined}, {overall.clips} clips, {protocol}: "
                   f"{_difference(overall.found)}; resolves {100 * overall.resolvable:.2f} points")
        if overall.by_subject:
            click.echo(f"  {_difference(overall.by_subject, _subjects(overall.by_subject))}")


def _difference(found: Difference, resampled: str = "paired bootstrap") -> str:
    return (f"difference {100 * found.difference:+.2f} points, 95 % interval {100 * found.low:+.2f} to "
            f"{100 * found.high:+.2f}, {_p(found.p)} ({resampled})")


def _subjects(found: SubjectDifference) -> str:
    few = ", too few to tell anything" if found.subjects < 6 else ""
    return f"{found.subjects} subjects, cluster-robust t{few}"


def _p(value: float) -> str:
    return f"p = {value:.4f}" if value >= 0.0001 else "p < 0.0001"


def _comparison_text(item: Comparison) -> str:
    dataset, split, evaluator = item.place
    metric = "" if item.ranked_by == "top1" else f" (top-1; boards rank by {item.ranked_by}, which is not compared)"
    lines = [f"{dataset} {split}, {evaluator}, {item.n} clips, seeds {', '.join(map(str, item.seeds))}{metric}",
             f"  A {item.rows[0]}: {100 * item.a:.2f} %   B {item.rows[1]}: {100 * item.b:.2f} %",
             f"  {_difference(item.found)}"]
    if item.by_subject:
        lines.append(f"  {_difference(item.by_subject, _subjects(item.by_subject))}")
    lines += [f"  McNemar, seed {seed}: {test.only_a} clips right in A only, {test.only_b} in B only, "
              f"{_p(test.p_exact)}" for seed, test in zip(item.seeds, item.mcnemar)]
    lines.append(f"  {_p(item.p_holm)} after Holm's correction; these clips resolve differences from "
                 f"{100 * item.resolvable:.2f} points")
    return "\n".join(lines)


def _comparison_data(found: Comparisons) -> dict[str, object]:
    import dataclasses

    each = []
    for item in found.each:
        dataset, split, evaluator = item.place
        data = dataclasses.asdict(item)
        del data["place"]
        each.append({"dataset": dataset, "split": split, "evaluator": evaluator, **data})
    return {"each": each, "over_all": {name: dataclasses.asdict(d) for name, d in found.over_all.items()}}


@click.command()
@click.argument("names", metavar="[RECORD]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every record and every board of the folder.")
@records_option
@click.option("--rescore", is_flag=True, help="Compute the metrics again from the stored predictions.")
@click.option("--rerun", "again", is_flag=True, help="Evaluate again from the encoders; exit code 3 if it differs.")
@click.option("--encoders", type=click.Path(path_type=Path), metavar="DIR",
              help="With --rerun: output folder that holds the weights [default: that of the records].")
@click.option("--tolerance", type=click.FloatRange(0, 100), default=0.0, show_default=True, metavar="POINTS",
              help="With --rerun: largest difference of a metric, in percentage points.")
@click.option("--device", default="auto", show_default=True, help="With --rerun: auto, cpu, cuda or cuda:N.")
@options.data_root
@options.plugins
def verify(names: tuple[str, ...], everything: bool, root: Path, rescore: bool, again: bool, encoders: Path | None,
           tolerance: float, device: str, data_root: Path, plugin_paths: tuple[str, ...]) -> None:
    """Check records against their seals, places, predictions and scores, or evaluate them again.

    A RECORD is an id in --records, or a file: without --records it is checked in the output folder that it lies in.
    """
    from ssl_skel.bench.store import RecordStore
    from ssl_skel.bench.verify import find_record, folder_of, verify_record

    if bool(names) == everything:
        raise UsageMistake("give records, or --all", "For example `ssl-skel bench verify --all --rescore`.")
    store, others = RecordStore(root), (data_root, plugin_paths, device, tolerance / 100)
    if not everything:
        asked = click.get_current_context().get_parameter_source("root") is not ParameterSource.DEFAULT
        for name in names:
            folder = root if asked else folder_of(name) or root
            store, where = RecordStore(folder), (encoders or folder, *others)
            record = find_record(store, name)
            said = verify_record(store, record, rescore) + (_rerun(store, record, where) if again else [])
            click.echo(f"{record.id}: {', '.join(said)} agree")
        return
    records, broken = store.scan()
    found: list[SkelError] = [*broken]
    for record in records:
        try:
            verify_record(store, record, rescore)
            if again:
                _rerun(store, record, (encoders or root, *others))
        except SkelError as error:
            found.append(error)
    if not records and not found:
        raise UsageMistake(f"{root} holds no records", "Give their folder with --records.")
    if not found and (root / "boards").is_dir():
        found += _board_errors(store.root, plugin_paths)
    for problem in found:
        click.echo(problem.format_message(), err=True)
    click.echo(f"{root}: {len(records)} records read, {len(found)} problems")
    raise SystemExit(found[0].exit_code if found else errors.OK)


def _rerun(store: RecordStore, record: Record, where: tuple[Path, Path, tuple[str, ...], str, float]) -> list[str]:
    from ssl_skel.bench.rerun import Where, rerun

    return [f"rerun ({rerun(store, record, Where(*where))})"]


def _board_errors(root: Path, plugin_paths: tuple[str, ...]) -> list[SkelError]:
    from ssl_skel.bench.board import check_boards
    from ssl_skel.bench.store import RecordStore

    try:
        check_boards(RecordStore(root), None, _current(plugin_paths))
    except SkelError as error:
        return [error]
    return []
