"""`bench run` from Python: the same plan, cells, records and board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ssl_skel.bench.cells import Plan
from ssl_skel.bench.console import silent
from ssl_skel.bench.record import Failure, Record
from ssl_skel.bench.request import Asked, plan_of
from ssl_skel.bench.run import RunOptions, run_plan
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.dataset import default_root
from ssl_skel.registry import discover


@dataclass(frozen=True)
class BenchResult:
    """How a run ended.

    Attributes:
        code: What the command would exit with: 0 all cells ok, 1 some failed, 4 data missing, 130 interrupted.
        plan: What was to be run, with what was refused and why.
        records: Of the plan's evaluations that are done, in the order of the plan.
        failures: Of its cells that did not finish.
        boards: Files of the board.
    """

    code: int
    plan: Plan
    records: tuple[Record, ...]
    failures: tuple[Failure, ...]
    boards: tuple[Path, ...]


def bench(suite: str | None = None, *, plugins: Sequence[str] = (), backbones: Sequence[str] = (),
          datasets: Sequence[str] = (), evaluators: Sequence[str] = (), seeds: Sequence[int] = (),
          settings: Mapping[str, Any] | None = None, precision: Literal["auto", "fp32", "bf16"] | None = None,
          device: str = "auto", out: str | Path = "runs", data_root: str | Path | None = None,
          plugin_paths: Sequence[str | Path] = (), executor: str = "inline", jobs: int = 1, threads: int | None = None,
          rerun: Literal["missing", "failed", "stale", "all"] = "missing", loggers: Sequence[str] = (),
          quiet: bool = False) -> BenchResult:
    """Pretrain, evaluate and rank; finished cells are kept, so the same call again does only what is missing.

    Args:
        suite: A suite of the registry; without one, give plugins and datasets.
        plugins: Only these; one that the suite does not list is added to it.
        backbones: Instead of the defaults.
        datasets: ``name`` or ``name/split``, instead of the suite's.
        evaluators: Instead of the suite's.
        seeds: Instead of the suite's.
        settings: Keys as with ``--set``: ``{"train.epochs": 5, "simclr:temperature": 0.2}``.
        precision: Of matrix products.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        out: Output folder.
        data_root: Folder of the prepared datasets; by default ``$SSL_SKEL_DATA``, else ``./data``.
        plugin_paths: As with ``--plugins``.
        executor: ``inline`` runs in this process. ``process`` isolates cells; a script must then guard its own code
            with ``if __name__ == "__main__"``, as `multiprocessing` asks.
        jobs: Cells at once, for executors that can.
        threads: CPU threads a cell.
        rerun: Which cells to run.
        loggers: Where curves are shown too: ``csv``, ``tensorboard``, or another registered one.
        quiet: Print nothing.

    Raises:
        SkelError: If a name, key or value does not exist, nothing can be run, or the folder can't be written.
    """
    root, paths = Path(data_root or default_root()), tuple(map(str, plugin_paths))
    catalogue, sets = discover(paths), tuple(f"{key}={_yaml(value)}" for key, value in (settings or {}).items())
    asked = Asked(suite=suite, names=plugins, backbones=backbones, datasets=datasets, evaluators=evaluators,
                  seeds=seeds, settings=sets, precision=precision, device=device)
    plan = plan_of(asked, catalogue, root)
    options = RunOptions(out=Path(out), data_root=root, plugins=paths, device=device, jobs=jobs, threads=threads,
                         rerun=rerun, loggers=tuple(loggers))
    code = run_plan(plan, catalogue, catalogue.load("executors", executor), options, silent if quiet else None)
    store, cells = RecordStore(Path(out)), {cell.id for cell in plan.pretrainings} | {c.id for c in plan.evaluations}
    boards = sorted((store.root / "boards" / plan.suite).glob("*"))
    return BenchResult(
        code, plan, tuple(store.read(cell.id) for cell in plan.evaluations if store.has(cell.id)),
        tuple(failure for failure in store.failures() if failure.id in cells), tuple(boards))


def _yaml(value: Any) -> str:
    """A value as ``--set`` takes it, on one line."""
    return yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True,
                          width=10**9).removesuffix("\n...\n").strip()
