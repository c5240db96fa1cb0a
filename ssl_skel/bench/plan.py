"""Makes the plan of a run: which cells, with which ids, and what is refused or missing, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssl_skel.api import Evaluator
from ssl_skel.bench.cells import EvalCell, Plan, Preprocessing, PretrainCell, Refusal
from ssl_skel.bench.resolve import Resolved, Settings, resolve
from ssl_skel.data.open import SplitView, open_split
from ssl_skel.errors import DATA, SkelError, UsageMistake
from ssl_skel.registry import Catalogue, Entry
from ssl_skel.schema import EvaluatorRef, Suite, SuiteEntry
from ssl_skel.yamlio import validate

__all__ = ["EvalCell", "Plan", "PlanRequest", "PretrainCell", "make_plan"]


@dataclass(frozen=True)
class PlanRequest:
    """What was asked for.

    Attributes:
        suite: The suite, filters already applied.
        name: Its name, or ``custom``.
        data_root: Folder of the prepared datasets.
        precision: Resolved precision.
        settings: ``--set`` values.
    """

    suite: Suite
    name: str
    data_root: Path
    precision: str
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class _Evaluation:
    entry: Entry
    version: int
    config: dict[str, object]
    code: str


def make_plan(request: PlanRequest, catalogue: Catalogue) -> Plan:
    """Plan a run.

    Args:
        request: What was asked for.
        catalogue: Where names are looked up.

    Raises:
        UnknownName: For a dataset, split, evaluator or plugin that does not exist.
        UsageMistake: If an evaluator's keys are wrong.
    """
    suite = request.suite
    evaluations = [_evaluation(catalogue, item) for item in suite.evaluators]
    pretrainings: dict[str, PretrainCell] = {}
    cells: dict[str, EvalCell] = {}
    refused: list[Refusal] = []
    missing: dict[str, str] = {}
    warnings: list[str] = []
    for reference in _references(catalogue, suite):
        try:
            view = _open(request, catalogue, reference)
        except SkelError as error:
            if error.exit_code != DATA:
                raise
            missing[reference] = error.message
            continue
        warnings += _warnings(view)
        for entry in suite.entries:
            try:
                resolved = resolve(catalogue, suite, entry, view.dataset.card.name, view.layout, request.settings)
                _check_batch(resolved, view)
                planned = [_pretraining(request, catalogue, entry, resolved, view, seed) for seed in suite.seeds]
            except SkelError as error:
                refused.append(Refusal(plugin=entry.plugin, dataset=reference, reason=error.message))
                continue
            for cell in planned:
                cell = pretrainings.setdefault(cell.id, cell)
                for one in _evaluations(request, cell, resolved, view, evaluations, entry):
                    cells.setdefault(one.id, one)
    return Plan(suite=request.name, title=suite.title, baseline=suite.baseline,
                pretrainings=tuple(pretrainings.values()), evaluations=tuple(cells.values()),
                refused=tuple(refused), missing=missing, warnings=tuple(dict.fromkeys(warnings)))


def _evaluation(catalogue: Catalogue, item: str | EvaluatorRef) -> _Evaluation:
    reference = EvaluatorRef(name=item) if isinstance(item, str) else item
    entry = catalogue.get("evaluators", reference.name)
    cls = entry.load()
    if not (isinstance(cls, type) and issubclass(cls, Evaluator)):
        raise UsageMistake(f"evaluator {entry.name!r} ({entry.origin}): {entry.target} is no Evaluator")
    config = validate(cls.Config, {**entry.config, **reference.config}, f"evaluator {entry.name}")
    return _Evaluation(entry, cls.version, config.model_dump(mode="json"), entry.outside_code())


def _references(catalogue: Catalogue, suite: Suite) -> list[str]:
    """The suite's ``name/split`` references, each group of splits taken apart into its members.

    Raises:
        UnknownName: For a dataset or split that does not exist, prepared or not.
    """
    found: dict[str, None] = {}
    for reference in suite.datasets:
        name, _, split = reference.partition("/")
        card = catalogue.load("datasets", name.partition("+")[0])
        if split in card.groups:
            found |= dict.fromkeys(f"{name}/{member}" for member in card.groups[split])
            continue
        if split:
            card.get_split(split)
        found[reference] = None
    return list(found)


def _open(request: PlanRequest, catalogue: Catalogue, reference: str) -> SplitView:
    """Open a split without loading its clips; ``name/split``, or ``name`` for the dataset's first split."""
    name, _, split = reference.partition("/")
    card = catalogue.load("datasets", name.partition("+")[0])
    return open_split(name, split or next(iter(card.splits)), request.data_root, card=card,
                      preprocessing=request.suite.preprocessing or "")


def _check_batch(resolved: Resolved, view: SplitView) -> None:
    batch, clips = resolved.train.batch, len(view.train)
    if batch > clips and resolved.train.epochs:
        raise UsageMistake(f"a batch of {batch} is larger than the {clips} training clips", "Lower train.batch.")


def _warnings(view: SplitView) -> list[str]:
    split = view.split
    if not split.known_leak:
        return []
    clean = f"; {view.dataset.card.name}/{split.clean_twin} leaves them out" if split.clean_twin else ""
    return [f"{view.dataset.card.name}/{split.name}: {split.known_leak}{clean}"]


def _preprocessing(view: SplitView) -> Preprocessing:
    return Preprocessing(name=view.preprocessing.name, version=view.preprocessing.version)


def _pretraining(request: PlanRequest, catalogue: Catalogue, entry: SuiteEntry, resolved: Resolved, view: SplitView,
                 seed: int) -> PretrainCell:
    plugin = catalogue.get("plugins", entry.plugin)
    assert plugin.card is not None  # resolved already
    plain = resolved.plain
    return PretrainCell(
        plugin=entry.plugin, plugin_version=plugin.card.version, label=entry.label, backbone=resolved.backbone.name,
        backbone_version=resolved.backbone_class.version, dataset=view.name, split=view.split.name,
        seed=seed, config=plain["config"], train=resolved.train, backbone_config=plain["backbone"],
        preprocessing=_preprocessing(view), precision=request.precision,
        plugin_digest=plugin.digest(), dataset_digest=view.dataset_digest, train_digest=view.train_digest,
        stream_sets=resolved.stream_sets, backbone_code=resolved.backbone.outside_code()).with_id()


def _evaluations(request: PlanRequest, pretraining: PretrainCell, resolved: Resolved, view: SplitView,
                 evaluations: list[_Evaluation], entry: SuiteEntry) -> Iterator[EvalCell]:
    for evaluation in evaluations:
        for streams in resolved.stream_sets:
            for fusion in ("single",) if len(streams) == 1 else request.suite.fusions:
                yield EvalCell(
                    pretrain_id=pretraining.id, plugin=entry.plugin, label=entry.label, backbone=pretraining.backbone,
                    dataset=pretraining.dataset, split=view.split.name, seed=pretraining.seed,
                    evaluator=evaluation.entry.name, evaluator_version=evaluation.version,
                    evaluator_config=evaluation.config, streams=streams, fusion=fusion,
                    frames=resolved.train.frames, preprocessing=pretraining.preprocessing,
                    dataset_digest=view.dataset_digest, split_digest=view.split_digest,
                    evaluator_code=evaluation.code).with_id()
