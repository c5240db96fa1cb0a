"""The whole plugin contract on one page.

A pretext task sees a `Batch` (which has no label field, by design), builds its networks from a `Backbone`
factory and hands back `encoders()`, which the suite freezes and evaluates. An `Evaluator` sees labels of the
training part only: it returns predictions for the test clips, and the suite, not the evaluator, compares
them with the test labels. Randomness comes from the generator that is passed in, never from the global state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ssl_skel.data.layouts import Layout
from ssl_skel.execution import Event, Executor, Logger, Unit

if TYPE_CHECKING:
    from ssl_skel.data.label_sets import LabelSets
    from ssl_skel.schema import TrainConfig

__all__ = [
    "Backbone", "Batch", "ClipSource", "EvalContext", "EvalResult", "Evaluator", "Event", "Executor", "FeatureSet",
    "Features", "Layout", "Logger", "PretextTask", "TaskConfig", "Unit",
]


class TaskConfig(BaseModel):
    """Base of every configuration model: immutable; an unknown key and a number that is not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips as a pretext task sees them.

    Attributes:
        xyz: (B, M, T, V, 3) float32 joint positions in metres or dataset units; zero where invalid.
        valid: (B, M, T, V) bool, the one mask: False for an absent person, an untracked joint, padding.
        index: (B,) int64 below the number of training clips, the same for a clip in every batch; drawn at random, as
            the order of a store tells the classes.
        layout: Joints, bones, parts, left/right pairs, centre joint, persons M.
    """

    xyz: Tensor
    valid: Tensor
    index: Tensor
    layout: Layout

    def __len__(self) -> int:
        return int(self.xyz.shape[0])


@dataclass(frozen=True, slots=True)
class Features:
    """What a backbone gives for a batch.

    Attributes:
        pooled: (B, D) one vector a clip.
        tokens: (B, N, D) one vector a token (point, patch, frame), or None.
    """

    pooled: Tensor
    tokens: Tensor | None = None


class Backbone(nn.Module):
    """Skeletons in, one vector a clip out.

    A backbone honours `valid`: what stands at an invalid point can't change the features, in training or in
    evaluation mode. It takes any layout, any number of persons and frames.

    Attributes:
        version: Raised with every change that can change the numbers.
        Config: Model of the keys that the constructor takes.
        tiny: Keys that make it small; contract checks of plugins on this backbone use them.
        fixed_persons: Whether its weights are for the number of persons that it was built for; such a network is not
            tested on data with another number.
        dim: D, the length of the pooled vector.
    """

    version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = TaskConfig
    tiny: ClassVar[Mapping[str, Any]] = {}
    fixed_persons: ClassVar[bool] = False
    dim: int

    def __init__(self, cfg: Any, layout: Layout) -> None:
        super().__init__()

    @classmethod
    def check(cls, cfg: Any, layout: Layout, frames: int) -> None:
        """Refuse, when planned, clips that the network can't encode.

        Args:
            cfg: Validated instance of `Config`.
            layout: Of the clips.
            frames: T, to which every clip is resampled.

        Raises:
            SkelError: With the reason.
        """

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        """Encode clips.

        Args:
            xyz: (B, M, T, V, 3) positions.
            valid: (B, M, T, V) bool.
            layout: Of these clips.
        """
        raise NotImplementedError


BackboneFactory = Callable[[], Backbone]


class PretextTask(nn.Module):
    """A pretext task: networks, views, loss; the training loop knows nothing else of the method.

    Attributes:
        Config: Frozen pydantic model (`TaskConfig`) of the method's keys.
    """

    Config: ClassVar[type[BaseModel]] = TaskConfig

    def __init__(self, cfg: Any = None, backbone: BackboneFactory | None = None, layout: Layout | None = None) -> None:
        """Called with all three; a subclass may call it with none.

        Args:
            cfg: Validated instance of `Config`.
            backbone: Builds a new backbone at each call.
            layout: Of the clips.
        """
        super().__init__()

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """Augment a batch on its device; called without gradients. The default is the batch itself."""
        return batch

    def forward(self, views: Any) -> dict[str, Tensor]:
        """Return a dict with a scalar ``loss``; further scalars are logged as they are."""
        raise NotImplementedError

    def after_step(self, step: int, total: int) -> None:
        """Update what no gradient updates (a momentum encoder, a queue), after optimiser step `step` of `total`."""

    def encoders(self) -> dict[str, Backbone]:
        """Name the backbones that are frozen, evaluated and fused downstream."""
        raise NotImplementedError

    @classmethod
    def check(cls, cfg: Any, layout: Layout) -> None:
        """Refuse, when planned, what the method can't do with these clips.

        Raises:
            SkelError: With the reason.
        """

    @classmethod
    def check_training(cls, cfg: Any, layout: Layout, train: TrainConfig) -> None:
        """Refuse, when planned, a training that the method can't do: batch, frames.

        Not called for a method that is not trained.

        Raises:
            SkelError: With the reason.
        """

    @classmethod
    def stream_sets(cls, cfg: Any) -> tuple[tuple[str, ...], ...]:
        """Name the sets of encoders to evaluate, before anything is built; sets of more than one are fused.

        The union of the sets equals the keys of `encoders()`.
        """
        return (("encoder",),)

    def param_groups(self) -> list[dict[str, Any]] | None:
        """Return optimiser groups, or None for one group of all trainable parameters."""
        return None


class ClipSource(Protocol):
    """Clips of one part of a split on the device, in a fixed order; labels are not among what it gives."""

    layout: Layout

    def __len__(self) -> int:
        """Return the number of clips."""

    def batch(self, index: Tensor) -> Batch:
        """Return the clips at positions `index`, resampled as in evaluation."""

    def prefetch(self, index: Tensor) -> None:
        """Start to gather the clips at positions `index`, which are asked for next."""


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Frozen features of one part of a split.

    Attributes:
        streams: Encoder name -> (n, D) float32 on the CPU.
        names: n clip names.
        labels: (n,) int64; None for the test part, which an evaluator must not see.
        subjects: (n,) int64 performer ids.
    """

    streams: Mapping[str, Tensor]
    names: Sequence[str]
    subjects: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class EvalContext:
    """All that an evaluator may use.

    Attributes:
        train: Features and labels of the whole training part.
        val: (n_train,) bool, True on held-out training subjects; all choosing is done on these.
        test: Features of the test part, without labels.
        num_classes: C.
        fusion: ``single``, ``concat`` (of standardised codes) or ``scores`` (sum of softmax scores).
        weights: Of each stream's scores, where they are added up; 1 where not named.
        seed: For an evaluator that draws.
        device: Where to compute.
        encoders: The frozen encoders (``needs = "encoder"`` only, else empty).
        train_clips: Clips of the training part, in the order of `train` (``needs = "encoder"`` only).
        test_clips: Clips of the test part, in the order of `test` (``needs = "encoder"`` only).
        support: Labelled exemplars of test classes (one-shot splits only).
        label_sets: Which training clips are labelled in semi-supervised evaluation, where a file says so.
    """

    train: FeatureSet
    val: Tensor
    test: FeatureSet
    num_classes: int
    fusion: Literal["single", "concat", "scores"] = "single"
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    encoders: Mapping[str, Backbone] = field(default_factory=dict)
    train_clips: ClipSource | None = None
    test_clips: ClipSource | None = None
    support: FeatureSet | None = None
    label_sets: LabelSets | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What an evaluator found, before anybody looked at a test label.

    Attributes:
        top: (n_test, K) int64 classes by falling score, K = min(5, C).
        chosen: What was chosen on held-out training subjects (e.g. ``{"l2": 0.01}``), for the record.
        extra: Other predictions by name, each with first dimension n_test, that `Evaluator.score` reads.
    """

    top: Tensor
    chosen: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Tensor] = field(default_factory=dict)


class Evaluator(ABC):
    """A protocol: fits on the training part, predicts the test part; versioned, never sees the task.

    Attributes:
        name: Registered name.
        version: Raised with every change that can change the numbers.
        needs: ``features`` (cached, frozen) or ``encoder``.
        across: Whether it is only for encoders that were pretrained on another dataset than they are tested on.
        primary: The metric that ranks, a fraction in [0, 1]; higher ranks first. Of an error, score one minus it.
        selection: ``last``; a diagnostic whose `score` chooses by test labels says ``best-on-test`` and is never
            ranked.
        Config: Model of the keys that the constructor takes.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs: ClassVar[Literal["features", "encoder"]] = "features"
    across: ClassVar[bool] = False
    primary: ClassVar[str] = "top1"
    selection: ClassVar[Literal["last", "best-on-test"]] = "last"
    Config: ClassVar[type[BaseModel]] = TaskConfig

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @classmethod
    def check(cls, cfg: Any, ctx: EvalContext) -> None:
        """Refuse, when planned, a split that the protocol can't be run on.

        By default a split is refused where a class is absent from training or there is one test clip.

        Args:
            cfg: Validated instance of `Config`.
            ctx: Names, subjects, held-out subjects and training labels; without features, encoders and clips.

        Raises:
            SkelError: With the reason.
        """
        from ssl_skel.evaluators.common import check_split

        check_split(ctx)

    @abstractmethod
    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Fit and choose on the training part, predict the test part."""

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """Compare predictions with test labels. Default: top-1, top-5, class mean.

        The suite calls it when the predictions are made: on the test part, and on resamples of it for intervals.

        Args:
            result: What `evaluate` returned.
            labels: (n_test,) int64.
            num_classes: C.

        Returns:
            Metrics, finite; `primary` is among them and is a fraction in [0, 1], higher is better. Boards show
            percentages.
        """
        from ssl_skel.bench.metrics import classification_metrics

        return classification_metrics(result.top, labels, num_classes)
