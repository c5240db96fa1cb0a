"""Where encoders are tested: the split that they were pretrained on, or another dataset; what is refused before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ssl_skel.api import EvalContext, FeatureSet
from ssl_skel.bench.cells import Origin, PretrainCell
from ssl_skel.bench.resolve import Resolved
from ssl_skel.data import joints
from ssl_skel.data.open import Part, SplitView
from ssl_skel.errors import SkelError, UsageMistake
from ssl_skel.registry import Entry


@dataclass(frozen=True)
class Evaluation:
    """One evaluator of a plan.

    Attributes:
        entry: Of the registry.
        version: Of its class.
        config: Resolved, as plain data.
        code: Digest of code that the suite does not ship, else empty.
        across: Whether it is for encoders that were pretrained on another dataset.
        check: Raises where it can't be run on a split (`Evaluator.check`).
    """

    entry: Entry
    version: int
    config: dict[str, object]
    code: str
    across: bool
    check: Callable[[EvalContext], None]


@dataclass(frozen=True)
class Target:
    """A split that encoders are tested on.

    Attributes:
        reference: ``dataset/split`` as it was asked for.
        view: Opened with the preprocessing of the pretraining.
        evaluations: Those that can be run on it.
    """

    reference: str
    view: SplitView
    evaluations: tuple[Evaluation, ...]


def facts(view: SplitView) -> EvalContext:
    """What an evaluator may know of a split before anything is encoded: all but features, encoders and clips."""
    def known(part: Part) -> FeatureSet:
        return FeatureSet({}, part.names, part.subjects, part.labels)

    test = FeatureSet({}, [""] * len(view.test), view.test.subjects)  # a name often holds the class
    support = known(view.train.at(view.support)) if len(view.support) else None
    return EvalContext(known(view.train), view.val, test, view.num_classes, support=support)


def is_own(trained: SplitView, tested: SplitView) -> bool:
    """Whether the training clips of a split are those that were pretrained on."""
    return trained.dataset_digest == tested.dataset_digest and trained.train_digest == tested.train_digest


def origin_of(trained: SplitView, tested: SplitView) -> Origin | None:
    """Where encoders come from that are tested on another split; None for the split's own training part.

    Raises:
        SkelError: If there is no mapping between the joint layouts, or a test clip was pretrained on.
    """
    if is_own(trained, tested):
        return None
    layout = trained.layout
    joints.joint_map(tested.layout, layout)
    _check_unseen(trained, tested)
    version = joints.VERSION if tested.layout.name != layout.name else None
    return Origin(dataset=trained.name, split=trained.split.name, layout=layout.name, persons=layout.persons,
                  joints=version)


def check_encoder(resolved: Resolved, cell: PretrainCell, trained: SplitView, tested: SplitView) -> None:
    """Ask the backbone whether it can encode the clips of another dataset, as they are shown to it.

    Raises:
        SkelError: With the backbone's reason, or if its weights are for another number of persons.
    """
    had, has = trained.layout.persons, tested.layout.persons
    if resolved.backbone_class.fixed_persons and had != has:
        raise UsageMistake(f"backbone {cell.backbone} is built for clips of {had} persons, {tested.name} has {has}")
    shown = trained.layout.with_persons(tested.layout.persons)
    resolved.backbone_class.check(resolved.backbone_config, shown, cell.train.frames)


def same_dataset(trained: SplitView, tested: SplitView) -> bool:
    """Whether two splits are of one dataset, or of two of which one holds recordings of the other."""
    one, other = trained.dataset.card, tested.dataset.card
    return one.name == other.name or other.name in one.same_recordings or one.name in other.same_recordings


def _check_unseen(trained: SplitView, tested: SplitView) -> None:
    if not same_dataset(trained, tested):
        return
    seen = len(set(trained.train.names) & set(tested.test.names))
    if seen:
        raise UsageMistake(f"{seen} of the {len(tested.test)} test clips of {tested.name}/{tested.split.name} are "
                           f"training clips of {trained.name}/{trained.split.name}",
                           "Choose a split whose training part leaves them out.")


def usable(evaluations: list[Evaluation], view: SplitView) -> tuple[list[Evaluation], dict[str, str]]:
    """Ask each evaluator whether it can be run on a split.

    Returns:
        Those that can, and for the others name -> reason.
    """
    known, fits, refused = facts(view), [], {}
    for evaluation in evaluations:
        try:
            evaluation.check(known)
        except SkelError as error:
            refused[evaluation.entry.name] = error.message
        else:
            fits.append(evaluation)
    return fits, refused
