"""Runs one cell: a pretraining (task, training, encoders) or an evaluation (features, protocol, record)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_skel import checkpoint, ids
from ssl_skel.api import Backbone, EvalContext, EvalResult, Evaluator, Event, PretextTask, Unit
from ssl_skel.bench.cards import PretrainingCard, is_pretrained, read_card, write_card
from ssl_skel.bench.cells import EvalCell, PretrainCell
from ssl_skel.bench.claims import claimed
from ssl_skel.bench.clip_order import in_store_order, seen_order, with_order
from ssl_skel.bench.costs import EnergyMeter, forward_flops
from ssl_skel.bench.encoders import load_encoders, save_encoders
from ssl_skel.bench.features import extract, is_extracted
from ssl_skel.bench.guarded import blind_names, guarded, naming
from ssl_skel.bench.intervals import over_clips, over_subjects
from ssl_skel.bench.memory import evaluation_mb, pretraining_mb
from ssl_skel.bench.metrics import bootstrap_ci
from ssl_skel.bench.predictions import write_predictions
from ssl_skel.bench.provenance import distributions, environment, versions
from ssl_skel.bench.queueing import queue
from ssl_skel.bench.ranks import processes_of, run_ranks
from ssl_skel.bench.record import Counts, Digests, PretrainingData, Record
from ssl_skel.bench.reproduce import with_commands
from ssl_skel.bench.staleness import core_digest
from ssl_skel.bench.store import RecordStore, predictions_ref
from ssl_skel.bench.timestamps import now
from ssl_skel.data.joints import joint_map
from ssl_skel.data.label_sets import SHIPPED, find_sets
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.data.open import SplitView, open_split
from ssl_skel.errors import BrokenPlugin, DigestMismatch
from ssl_skel.fsio import make_folder
from ssl_skel.loggers.fan import Loggers
from ssl_skel.registry import Catalogue, Entry, discover
from ssl_skel.runtime import Runtime, make_deterministic, peak_mb, pick_device, reset_peak
from ssl_skel.seed import derive
from ssl_skel.train import Interrupted, TrainJob, TrainReport, encoders_of, pretrain
from ssl_skel.yamlio import validate

Report = Callable[[Event], None]


class _Where:
    """Options of a run, as a unit carries them."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.out = Path(options["out"])
        self.data_root = Path(options["data_root"])
        self.suite = str(options["suite"])
        self.device = pick_device(options.get("device", "auto"))
        make_deterministic(self.device)
        self.checkpoint_s = float(options.get("checkpoint_s", 60.0))
        self.catalogue: Catalogue = discover(tuple(options.get("plugins", ())))
        self.logger_names: tuple[str, ...] = tuple(options.get("loggers", ()))
        self.command: tuple[str, ...] = tuple(options.get("command", ()))
        if options.get("threads"):
            torch.set_num_threads(int(options["threads"]))

    def entries(self, cell: PretrainCell | EvalCell) -> list[Entry]:
        """Whose code a cell runs."""
        kinds = {"plugins": cell.plugin, "backbones": cell.backbone,
                 **({"evaluators": cell.evaluator} if isinstance(cell, EvalCell) else {})}
        return [self.catalogue.get(kind, name) for kind, name in kinds.items()]

    def loggers(self, cell: PretrainCell, report: Report) -> Loggers:
        """The loggers that were asked for; a failing one is told as progress with a warning."""
        def warn(line: str) -> None:
            report(Event(cell.id, "progress", "pretrain", line, detail={"warning": line}))

        makers = {name: self.catalogue.load("loggers", name) for name in self.logger_names}
        run = f"{cell.plugin}-{cell.dataset}-{cell.split}-s{cell.seed}-{cell.id}"
        return Loggers(makers, self.out, run, cell.model_dump(mode="json"), warn)

    def split(self, cell: PretrainCell | EvalCell, frames: int) -> SplitView:
        card = self.catalogue.load("datasets", cell.dataset.partition("+")[0])
        view = open_split(cell.dataset, cell.split, self.data_root, card=card, frames=frames, device=self.device,
                          preprocessing=cell.preprocessing.name)
        if view.dataset_digest != cell.dataset_digest:
            raise DigestMismatch(f"{cell.dataset} is not the data that was planned with", "Run the command again.")
        mapped = isinstance(cell, EvalCell) and cell.origin is not None and cell.origin.joints is not None
        return view.shown_in(self.layout(cell, view)) if mapped else view

    @staticmethod
    def layout(cell: PretrainCell | EvalCell, view: SplitView) -> Layout:
        """Joint layout that a cell's encoders know."""
        if isinstance(cell, EvalCell) and cell.origin is not None:
            return get_layout(cell.origin.layout, cell.origin.persons)
        return view.layout


def is_finished(unit: Unit) -> bool:
    """Whether the result of a unit lies in the output folder already."""
    out = Path(unit.options["out"])
    if unit.kind == "pretrain":
        return is_pretrained(out / "pretrain" / unit.id)
    return RecordStore(out).has(unit.id)


def _unchanged(entry: Entry, same: bool) -> None:
    if not same:
        raise BrokenPlugin(f"{entry.kind[:-1]} {entry.name!r} has changed since the run was planned",
                           "Run the command again.")


def build_task(catalogue: Catalogue, cell: PretrainCell, layout: Layout) -> PretextTask:
    """Build a cell's task, its weights drawn from the cell's seed.

    Args:
        catalogue: Where names are looked up.
        cell: The pretraining.
        layout: Of the clips.

    Raises:
        BrokenPlugin: If the code of plugin or backbone is no longer the code that was planned.
    """
    entry, net = catalogue.get("plugins", cell.plugin), catalogue.get("backbones", cell.backbone)
    _unchanged(entry, entry.digest() == cell.plugin_digest)
    _unchanged(net, net.outside_code() == cell.backbone_code)
    task_class, backbone_class = entry.load(), net.load()
    config = validate(task_class.Config, cell.config, cell.plugin)
    backbone_config = validate(backbone_class.Config, cell.backbone_config, cell.backbone)

    def backbone() -> Backbone:
        built: Backbone = backbone_class(backbone_config, layout)
        return built

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(cell.seed, "init"))
        task: PretextTask = task_class(config, backbone, layout)
    return task


def run_pretraining(unit: Unit, report: Report, stop: threading.Event) -> None:
    """Run a pretraining cell and leave its encoders, curves and card in ``pretrain/<id>/``."""
    cell, where = PretrainCell.model_validate(unit.cell), _Where(unit.options)
    reset_peak(where.device)
    folder = make_folder(where.out, "pretrain", cell.id)
    data = where.split(cell, cell.train.frames).pretraining()  # nothing else of the split stays in memory
    started = now()
    with (naming(lambda: where.split(cell, cell.train.frames).train.names),
          guarded(where.data_root, *where.entries(cell)), queue(where.out, where.device) as place):
        task = build_task(where.catalogue, cell, data.layout)
        if cell.train.epochs and processes_of(unit) == 1:
            place.take(pretraining_mb(where.out, cell, task, data.clips, where.device), _waits(cell.id, report, stop))
        job = TrainJob(cell.id, task, data.clips, blind_names(len(data)), cell.train, cell.seed, folder,
                       Runtime(where.device, cell.precision), where.checkpoint_s, stop,
                       lambda values: report(Event(cell.id, "progress", "pretrain", detail=values)),
                       loggers=where.loggers(cell, report))
        meter = None if checkpoint.exists(folder) else EnergyMeter(where.device)
        task, cost = pretrain(job)
        joules = meter.read() if meter and cost.steps and job.runtime.world_size == 1 else None
        encoders = encoders_of(task)
        _check_encoders(cell, encoders)
        if not job.runtime.is_main:
            return
        sha = save_encoders(folder, encoders)
        flops = forward_flops(encoders, data.clips, cell.train.frames)
    write_card(folder, PretrainingCard(
        id=cell.id, cell=cell, encoders_sha256=sha, curves_sha256=_sha_of_curves(folder),
        cost={**_cost(cost, task, encoders), "joules": joules, **{f"flops/{k}": v for k, v in flops.items()}},
        world_size=job.runtime.world_size, env=environment(str(where.device)), started=started, finished=now()))
    checkpoint.remove(folder)


def _waits(cell_id: str, report: Report, stop: threading.Event | None = None) -> Callable[[str], None]:
    """Tell that a cell waits; a pretraining that is asked to stop gives up."""
    def waiting(line: str) -> None:
        if stop is not None and stop.is_set():
            raise Interrupted
        report(Event(cell_id, "progress", "wait", line))

    return waiting


def _sha_of_curves(folder: Path) -> str:
    path = folder / "curves.jsonl"
    return ids.file_sha256(path) if path.is_file() else ""


def _check_encoders(cell: PretrainCell, encoders: Mapping[str, nn.Module]) -> None:
    wanted = {name for streams in cell.stream_sets for name in streams}
    if not wanted <= set(encoders):
        raise BrokenPlugin(f"plugin {cell.plugin!r}: stream_sets names {sorted(wanted)}, encoders() gives "
                           f"{sorted(encoders)}")


def _cost(cost: TrainReport, task: PretextTask, encoders: Mapping[str, nn.Module]) -> dict[str, float | None]:
    return {"params": float(sum(p.numel() for p in _distinct(encoders.values()))),
            "params_pretraining": float(sum(p.numel() for p in task.parameters())),
            "pretrain_s": cost.seconds, "samples_per_s": cost.samples_per_s, "peak_mb": cost.peak_mb,
            "steps": float(cost.steps), "loss": cost.loss}


def _distinct(modules: Any) -> list[Tensor]:
    return list({id(p): p for module in modules for p in module.parameters()}.values())


def run_evaluation(unit: Unit, report: Report) -> None:
    """Run an evaluation cell and write its record."""
    cell, where = EvalCell.model_validate(unit.cell), _Where(unit.options)
    reset_peak(where.device)
    started = now()
    folder = where.out / "pretrain" / cell.pretrain_id
    card = read_card(folder)
    evaluator = _evaluator(where.catalogue, cell)
    report(Event(cell.id, "progress", "extract"))
    if processes_of(unit) > 1:
        _extract_together(unit, cell, where, card, report)
    view, began = where.split(cell, cell.frames), time.perf_counter()
    with guarded(where.data_root, *where.entries(cell)), queue(where.out, where.device) as place:
        place.take(evaluation_mb(where.out, cell, where.layout(cell, view), where.device), _waits(cell.id, report))
        context = _context(cell, where, view, card, evaluator)
        del view  # and with it the labels and names of the test part, until the predictions are made
        extracted = time.perf_counter()
        report(Event(cell.id, "progress", "evaluate"))
        result = evaluator.evaluate(context)
        evaluated = time.perf_counter()
    view = where.split(cell, cell.frames)
    times = {"pretrain": card.cost["pretrain_s"] or 0.0, "extract": extracted - began,
             "evaluate": evaluated - extracted}
    _write_record(cell, where, view, evaluator, result, card, times, started)


def _extract_together(unit: Unit, cell: EvalCell, where: _Where, card: PretrainingCard, report: Report) -> None:
    """Let several processes extract the features of a pretraining; evaluations that come at once wait for the first."""
    with claimed(where.out, f"{cell.pretrain_id}-features", lambda _: None):
        view = where.split(cell, cell.frames)
        if not all(is_extracted(where.out, cell, part, card.encoders_sha256) for part in (view.train, view.test)):
            run_ranks(unit, report, threading.Event())


def extract_features(unit: Unit) -> None:
    """Extract the features of an evaluation, every clip by one of the processes that work together."""
    cell, where = EvalCell.model_validate(unit.cell), _Where(unit.options)
    card = read_card(where.out / "pretrain" / cell.pretrain_id)
    view, evaluator = where.split(cell, cell.frames), _evaluator(where.catalogue, cell)
    with guarded(where.data_root, *where.entries(cell)):
        _context(cell, where, view, card, evaluator)


def _evaluator(catalogue: Catalogue, cell: EvalCell) -> Evaluator:
    entry = catalogue.get("evaluators", cell.evaluator)
    _unchanged(entry, entry.outside_code() == cell.evaluator_code)
    cls = entry.load()
    evaluator: Evaluator = cls(validate(cls.Config, cell.evaluator_config, cell.evaluator))
    return evaluator


def _context(cell: EvalCell, where: _Where, view: SplitView, card: PretrainingCard,
             evaluator: Evaluator) -> EvalContext:
    layout, sha = where.layout(cell, view), card.encoders_sha256

    def encoders() -> dict[str, Backbone]:
        task = build_task(where.catalogue, card.cell, layout)
        return load_encoders(where.out / "pretrain" / cell.pretrain_id, task, sha, where.device)

    alive = encoders() if evaluator.needs == "encoder" else {}
    exemplars = view.train.at(view.support) if len(view.support) else None
    context = EvalContext(
        support=extract(where.out, cell, exemplars, sha, encoders, labels=True) if exemplars else None,
        train=extract(where.out, cell, view.train, sha, encoders, labels=True), val=view.val,
        test=extract(where.out, cell, view.test, sha, encoders, labels=False),
        num_classes=view.num_classes,
        label_sets=find_sets(cell.dataset, view.train_digest, [SHIPPED, where.data_root / "labels"]),
        fusion=cell.fusion, weights=cell.weights, seed=cell.seed, device=where.device,
        encoders={name: alive[name] for name in cell.streams} if alive else {},
        train_clips=view.train.clips if alive else None, test_clips=view.test.clips if alive else None)
    return with_order(context, seen_order(evaluator, len(view.test)))


def _write_record(cell: EvalCell, where: _Where, view: SplitView, evaluator: Evaluator, result: EvalResult,
                  card: PretrainingCard, times: dict[str, float], started: str) -> None:
    pretraining, labels = card.cell, view.test.labels
    result = in_store_order(result, seen_order(evaluator, len(labels)))
    predictions = write_predictions(view.test.names, labels, result.top)  # first: scores are made with the labels
    correct = result.top[:, 0].cpu() == labels
    metrics = evaluator.score(result, labels.clone(), view.num_classes)
    config = {"task": pretraining.config, "train": pretraining.train.model_dump(mode="json"),
              "backbone": pretraining.backbone_config, "evaluator": cell.evaluator_config, "frames": cell.frames,
              "preprocessing": cell.preprocessing.model_dump(mode="json"), "precision": pretraining.precision}
    data = _pretraining_data(cell, pretraining, where.layout(cell, view), view)
    if cell.weights:
        config["weights"] = cell.weights
    if cell.origin is not None and cell.origin.joints is not None:
        config["joints"] = {"from": view.layout.name, "to": data.layout, "version": cell.origin.joints,
                            "absent": list(data.absent)}
    cost = card.cost
    record = Record(
        id=cell.id, pretrain_id=cell.pretrain_id, suite=where.suite, cell=cell.key(),
        versions={**versions(), "plugin": pretraining.plugin_version, "backbone": pretraining.backbone_version,
                  "evaluator": cell.evaluator_version, "core": ids.CORE_NUMERICS,
                  **distributions(where.catalogue, cell.key())},
        digests=Digests(
            plugin=pretraining.plugin_digest, dataset=cell.dataset_digest, split=cell.split_digest,
            core=core_digest(cell.backbone, pretraining.backbone_version, cell.evaluator, cell.evaluator_version,
                             cell.preprocessing.version, (pretraining.backbone_code, cell.evaluator_code),
                             cell.origin.joints if cell.origin else None),
            config=ids.digest(config), encoder=card.encoders_sha256),
        config=config, primary=evaluator.primary, metrics=metrics,
        ci95={**over_clips(evaluator, result, labels, view.num_classes, cell.seed),
              "top1": bootstrap_ci(correct, seed=cell.seed)},
        ci95_subjects=over_subjects(evaluator, result, labels, view.num_classes, view.test.subjects, cell.seed),
        selection=evaluator.selection, persons=view.layout.persons,
        n=Counts(train=len(view.train), val=int(view.val.sum()), test=len(view.test)),
        num_classes=view.num_classes, chosen=dict(result.chosen), world_size=card.world_size,
        predictions=predictions_ref(cell.id, predictions), time_s=times,
        cost={"params": cost["params"], "pretrain_hours": (cost["pretrain_s"] or 0.0) * card.world_size / 3600,
              "samples_per_s": cost["samples_per_s"] or None, "steps": cost["steps"],
              "pretrain_peak_mb": cost["peak_mb"] if cost["steps"] else None, "eval_peak_mb": peak_mb(where.device),
              **_arithmetic_and_energy(card, cell.streams)},
        env=environment(str(where.device)), started=started, finished=now(), pretraining_data=data)
    RecordStore(where.out).write(with_commands(record, where.command), predictions)


def _arithmetic_and_energy(card: PretrainingCard, streams: Sequence[str]) -> dict[str, float | None]:
    flops, joules = [card.cost.get(f"flops/{name}") for name in streams], card.cost.get("joules")
    known = [value for value in flops if value is not None]
    return {"flops": sum(known) if len(known) == len(flops) else None,
            "pretrain_kj": None if joules is None else joules / 1000}


def _pretraining_data(cell: EvalCell, pretraining: PretrainCell, layout: Layout, view: SplitView) -> PretrainingData:
    return PretrainingData(
        data=f"{pretraining.dataset}/{pretraining.split}", dataset=pretraining.dataset_digest,
        clips=pretraining.train_digest, layout=layout.name, own=cell.origin is None,
        absent=joint_map(view.layout, layout).absent)
