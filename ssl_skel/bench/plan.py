"""Makes the plan of a run: which cells, with which ids, and what is refused or missing, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssl_skel.api import Evaluator
from ssl_skel.bench.cells import EvalCell, Plan, Preprocessing, PretrainCell, Refusal
from ssl_skel.bench.resolve import Resolved, Settings, resolve
from ssl_skel.data.open import Dataset, open_dataset
from ssl_skel.data.preprocess import family_version
from ssl_skel.errors import DataMissing, SkelError, UsageMistake
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
    for reference in suite.datasets:
        name, _, split = reference.partition("/")
        card = catalogue.load("datasets", name)
        split = split or next(iter(card.splits))
        card.get_split(split)
        try:
            dataset = open_dataset(card, request.data_root)
        except DataMissing as error:
            missing[name] = error.message
            continue
        warnings += dataset.warnings(split)
        for entry in suite.entries:
            try:
                resolved = resolve(catalogue, suite, entry, name, dataset.layout, request.settings)
            except SkelError as error:
                refused.append(Refusal(plugin=entry.plugin, dataset=reference, reason=error.message))
                continue
            for seed in suite.seeds:
                cell = _pretraining(request, catalogue, entry, resolved, dataset, split, seed)
                cell = pretrainings.setdefault(cell.id, cell)
                for one in _evaluations(request, cell, resolved, dataset, split, evaluations, entry):
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
    return _Evaluation(entry, cls.version, config.model_dump(mode="json"))


def _preprocessing(request: PlanRequest, dataset: Dataset) -> Preprocessing:
    name = request.suite.preprocessing or dataset.card.preprocessing
    return Preprocessing(name=name, version=family_version(name))


def _pretraining(request: PlanRequest, catalogue: Catalogue, entry: SuiteEntry, resolved: Resolved, dataset: Dataset,
                 split: str, seed: int) -> PretrainCell:
    plugin = catalogue.get("plugins", entry.plugin)
    assert plugin.card is not None  # resolved already
    plain = resolved.plain
    return PretrainCell(
        plugin=entry.plugin, plugin_version=plugin.card.version, label=entry.label, backbone=resolved.backbone.name,
        backbone_version=resolved.backbone_class.version, dataset=dataset.card.name, split=split, seed=seed,
        config=plain["config"], train=resolved.train, backbone_config=plain["backbone"],
        preprocessing=_preprocessing(request, dataset),
        precision=request.precision,  # type: ignore[arg-type]
        plugin_digest=plugin.digest(), dataset_digest=dataset.digest,
        train_digest=dataset.train_digest(split), stream_sets=resolved.stream_sets).with_id()


def _evaluations(request: PlanRequest, pretraining: PretrainCell, resolved: Resolved, dataset: Dataset, split: str,
                 evaluations: list[_Evaluation], entry: SuiteEntry) -> Iterator[EvalCell]:
    for evaluation in evaluations:
        for streams in resolved.stream_sets:
            fusions = ("single",) if len(streams) == 1 else request.suite.fusions
            for fusion in fusions:
                yield EvalCell(
                    pretrain_id=pretraining.id, plugin=entry.plugin, label=entry.label, backbone=pretraining.backbone,
                    dataset=dataset.card.name, split=split, seed=pretraining.seed, evaluator=evaluation.entry.name,
                    evaluator_version=evaluation.version, evaluator_config=evaluation.config, streams=streams,
                    fusion=fusion, frames=resolved.train.frames,  # type: ignore[arg-type]
                    preprocessing=pretraining.preprocessing, dataset_digest=dataset.digest,
                    split_digest=dataset.split_digest(split)).with_id()
