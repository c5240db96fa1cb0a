"""Makes the plan of a run: which cells, with which ids, and what is refused or missing, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ssl_skel.api import Evaluator
from ssl_skel.bench.cells import EvalCell, Origin, Plan, Preprocessing, PretrainCell, Refusal
from ssl_skel.bench.resolve import Resolved, Settings, resolve
from ssl_skel.bench.targets import Evaluation, Target, check_encoder, is_own, origin_of, usable
from ssl_skel.data.open import SplitView, open_split
from ssl_skel.data.outdated import outdated
from ssl_skel.data.seen import replaced, unusable
from ssl_skel.errors import DATA, SkelError, UnknownName, UsageMistake
from ssl_skel.registry import Catalogue
from ssl_skel.schema import EvaluatorRef, Suite, SuiteEntry
from ssl_skel.sharing import draws_by_process
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
        processes: That share the work of a cell.
    """

    suite: Suite
    name: str
    data_root: Path
    precision: str
    settings: Settings = field(default_factory=Settings)
    processes: int = 1


def make_plan(request: PlanRequest, catalogue: Catalogue) -> Plan:
    """Plan a run.

    Args:
        request: What was asked for.
        catalogue: Where names are looked up.

    Raises:
        UnknownName: For a dataset, split, evaluator or plugin that does not exist.
        UsageMistake: If an evaluator's keys are wrong, or it is about transfer and there is nothing to transfer to.
    """
    planner = _Planner(request, catalogue)
    for reference in planner.trained:
        planner.pretrain_on(reference)
    return planner.plan()


class _Planner:
    """Goes through pretraining data, entries and test data, and collects cells and what is refused."""

    def __init__(self, request: PlanRequest, catalogue: Catalogue) -> None:
        self.request, self.suite, self.catalogue = request, request.suite, catalogue
        self.evaluations = [_evaluation(catalogue, item) for item in self.suite.evaluators]
        self.trained = _references(catalogue, self.suite.datasets)
        self.tested = _references(catalogue, self.suite.targets)
        lonely = [one.entry.name for one in self.evaluations if one.across and not self.tested]
        if lonely:
            raise UsageMistake(f"evaluator {lonely[0]!r} tests on another dataset than was pretrained on, and none is "
                               "named", "Give --target DATASET/SPLIT, or `targets` in the suite.")
        self.pretrainings: dict[str, PretrainCell] = {}
        self.cells: dict[str, EvalCell] = {}
        self.refused: dict[Refusal, None] = {}
        self.missing: dict[str, str] = {}
        self.warnings: dict[str, None] = {}
        self.views: dict[tuple[str, str], SplitView | None] = {}

    def plan(self) -> Plan:
        """What was collected."""
        return Plan(suite=self.request.name, title=self.suite.title, baseline=self.suite.baseline,
                    pretrainings=tuple(self.pretrainings.values()), evaluations=tuple(self.cells.values()),
                    refused=tuple(self.refused), missing=self.missing, warnings=tuple(self.warnings))

    def pretrain_on(self, reference: str) -> None:
        """Plan every entry on one split, and its tests."""
        view = self._open(reference, self.suite.preprocessing or "")
        if view is None:
            return
        targets = list(self._targets(reference, view))
        for entry in self.suite.entries:
            try:
                resolved = resolve(self.catalogue, self.suite, entry, view.dataset.card.name, view.layout,
                                   self.request.settings)
                _check_batch(resolved, view, self.request.processes)
                _check_weights(entry, resolved)
                planned = self._pretrainings(entry, resolved, view)
                self.warnings |= dict.fromkeys(_micro_batches(self.catalogue, entry, resolved))
            except SkelError as error:
                self._refuse(entry.plugin, reference, error)
                continue
            for target in targets:
                self._test(entry, resolved, planned, (reference, view), target)

    def _pretrainings(self, entry: SuiteEntry, resolved: Resolved, view: SplitView) -> list[PretrainCell]:
        """One cell a seed; several processes are part of what it is only where they can change its weights."""
        cells = [_pretraining(self.request, self.catalogue, entry, resolved, view, seed) for seed in self.suite.seeds]
        processes = self.request.processes
        if processes == 1 or not resolved.train.epochs:
            return cells
        from ssl_skel.bench.cell import build_task

        if not draws_by_process(build_task(self.catalogue, cells[0], view.layout)):
            return cells
        return [cell.model_copy(update={"world_size": processes}).with_id() for cell in cells]

    def _test(self, entry: SuiteEntry, resolved: Resolved, planned: list[PretrainCell], trained: tuple[str, SplitView],
              target: Target) -> None:
        """Plan the evaluations of one entry's encoders on one split."""
        reference, view = trained
        try:
            origin = origin_of(view, target.view)
            if origin is not None:
                check_encoder(resolved, planned[0], view, target.view)
        except SkelError as error:
            self._refuse(entry.plugin, f"{reference} to {target.reference}", error)
            return
        target = self._with_own(entry, target, elsewhere=origin is not None)
        for cell in planned:
            for one in _evaluations(self.request, entry, cell, resolved, target, origin):
                self.pretrainings.setdefault(cell.id, cell)
                self.cells.setdefault(one.id, one)

    def _targets(self, reference: str, view: SplitView) -> Iterator[Target]:
        """Splits that encoders pretrained on `view` are tested on.

        Another split of the same dataset is left out where it is also pretrained on: of a matrix over the folds of a
        cross-validation, only the diagonal is clean.
        """
        for other in self.tested or [reference]:
            tested = view if other == reference else self._open(other, view.preprocessing.name)
            if tested is None:
                continue
            elsewhere = not is_own(view, tested)
            if elsewhere and tested.dataset.card.name == view.dataset.card.name and other in self.trained:
                continue
            yield Target(other, tested, self._usable(self.evaluations, tested, other, elsewhere))

    def _with_own(self, entry: SuiteEntry, target: Target, elsewhere: bool) -> Target:
        """The target with the evaluators that an entry has beside the suite's."""
        own = [_evaluation(self.catalogue, item) for item in entry.evaluators]
        found = self._usable(own, target.view, target.reference, elsewhere) if own else ()
        return replace(target, evaluations=(*target.evaluations, *found))

    def _usable(self, evaluations: Sequence[Evaluation], view: SplitView, where: str,
                elsewhere: bool) -> tuple[Evaluation, ...]:
        """Evaluations that can be run on a split; the others are refused."""
        fits, refused = usable([one for one in evaluations if elsewhere or not one.across], view)
        for name, reason in refused.items():
            self.refused[Refusal(plugin=f"evaluator {name}", dataset=where, reason=reason)] = None
        return tuple(fits)

    def _open(self, reference: str, preprocessing: str) -> SplitView | None:
        """Open a split, once; None where its dataset is missing."""
        key = reference, preprocessing
        if key not in self.views:
            self.views[key] = self._opened(*key)
        return self.views[key]

    def _opened(self, reference: str, preprocessing: str) -> SplitView | None:
        """Open a split without loading its clips; ``name/split``, or ``name`` for the dataset's first split."""
        name, _, split = reference.partition("/")
        card = self.catalogue.load("datasets", name.partition("+")[0])
        try:
            view = open_split(name, split or next(iter(card.splits)), self.request.data_root, card=card,
                              preprocessing=preprocessing)
        except SkelError as error:
            if error.exit_code != DATA:
                raise
            self.missing[reference] = error.message
            return None
        if reason := unusable(view.dataset.store, view.preprocessing.name):
            self.refused[Refusal(plugin=f"preprocessing {view.preprocessing.name}", dataset=reference,
                                 reason=reason)] = None
            return None
        self.warnings |= dict.fromkeys(_warnings(view))
        return view

    def _refuse(self, plugin: str, where: str, error: SkelError) -> None:
        self.refused[Refusal(plugin=plugin, dataset=where, reason=error.message)] = None


def _evaluation(catalogue: Catalogue, item: str | EvaluatorRef) -> Evaluation:
    reference = EvaluatorRef(name=item) if isinstance(item, str) else item
    entry = catalogue.get("evaluators", reference.name)
    cls = entry.load()
    if not (isinstance(cls, type) and issubclass(cls, Evaluator)):
        raise UsageMistake(f"evaluator {entry.name!r} ({entry.origin}): {entry.target} is no Evaluator")
    config = validate(cls.Config, {**entry.config, **reference.config}, f"evaluator {entry.name}")
    return Evaluation(entry, cls.version, config.model_dump(mode="json"), entry.outside_code(), cls.across,
                      partial(cls.check, config))


def _references(catalogue: Catalogue, asked: Sequence[str]) -> list[str]:
    """``name/split`` references, each group of splits taken apart into its members.

    Raises:
        UnknownName: For a dataset or split that does not exist, prepared or not.
    """
    found: dict[str, None] = {}
    for reference in asked:
        name, _, split = reference.partition("/")
        card = catalogue.load("datasets", name.partition("+")[0])
        if split in card.groups:
            found |= dict.fromkeys(f"{name}/{member}" for member in card.groups[split])
            continue
        if split:
            card.get_split(split)
        found[reference] = None
    return list(found)


def _check_batch(resolved: Resolved, view: SplitView, processes: int) -> None:
    batch, clips = resolved.train.batch, len(view.train)
    if not resolved.train.epochs:
        return
    if batch > clips:
        raise UsageMistake(f"a batch of {batch} is larger than the {clips} training clips", "Lower train.batch.")
    if batch % (processes * resolved.train.accumulate):
        micro = f"{resolved.train.accumulate} micro-batches in " if resolved.train.accumulate > 1 else ""
        raise UsageMistake(f"a batch of {batch} can't be dealt to {micro}{processes} processes equally",
                           "Choose another --gpus-per-cell, or set train.batch.")


def _micro_batches(catalogue: Catalogue, entry: SuiteEntry, resolved: Resolved) -> list[str]:
    """Warn of micro-batches that make another method of a plugin."""
    card, parts = catalogue.get("plugins", entry.plugin).card, resolved.train.accumulate
    if parts == 1 or not resolved.train.epochs or (card and card.batch_invariant):
        return []
    return [f"{entry.plugin}: {parts} micro-batches a step give other numbers than one batch; its loss compares the "
            "clips of a batch, or its layers take statistics over them"]


def _check_weights(entry: SuiteEntry, resolved: Resolved) -> None:
    known = {name for streams in resolved.stream_sets for name in streams}
    if wrong := sorted(set(entry.weights) - known):
        raise UnknownName("encoder to weigh", wrong[0], known)


def _warnings(view: SplitView) -> list[str]:
    split, store = view.split, view.dataset.store
    reasons = outdated(store, view.dataset.card), replaced(store, view.preprocessing.name)
    found = [reason for reason in reasons if reason]
    if not split.known_leak:
        return found
    clean = f"; {view.dataset.card.name}/{split.clean_twin} leaves them out" if split.clean_twin else ""
    return [*found, f"{view.dataset.card.name}/{split.name}: {split.known_leak}{clean}"]


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


def _evaluations(request: PlanRequest, entry: SuiteEntry, pretraining: PretrainCell, resolved: Resolved,
                 target: Target, origin: Origin | None) -> Iterator[EvalCell]:
    view = target.view
    for evaluation in target.evaluations:
        for streams in resolved.stream_sets:
            for fusion in ("single",) if len(streams) == 1 else request.suite.fusions:
                weights = entry.weights if fusion == "scores" else {}
                yield EvalCell(
                    pretrain_id=pretraining.id, plugin=pretraining.plugin, label=pretraining.label,
                    backbone=pretraining.backbone, dataset=view.name, split=view.split.name, seed=pretraining.seed,
                    evaluator=evaluation.entry.name, evaluator_version=evaluation.version,
                    evaluator_config=evaluation.config, streams=streams, fusion=fusion,
                    frames=resolved.train.frames, preprocessing=pretraining.preprocessing,
                    dataset_digest=view.dataset_digest, split_digest=view.split_digest,
                    evaluator_code=evaluation.code, origin=origin,
                    weights={name: weights[name] for name in streams if name in weights}).with_id()
