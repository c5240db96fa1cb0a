"""The record of one evaluation: the model of its JSON file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from ssl_skel import ids
from ssl_skel.schema import DatasetName, Model, Name

RECORD_SCHEMA = 1

CellId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Figure = Annotated[float, Field(ge=-1e30, le=1e30)]
"""A metric, a time or a cost; far from where a board's percentages and scales would overflow."""
FailureStatus = Literal["error", "refused", "diverged", "crashed", "killed", "timeout", "interrupted"]


def method_name(plugin: str, label: str) -> str:
    """Return how people are told of a method: its plugin, and its label in brackets where it has one."""
    return f"{plugin} [{label}]" if label else plugin


class CellKey(Model):
    """What a row of a board is about.

    Attributes:
        label: Tells entries of one plugin apart; empty where there is one.
        dataset: Tested on.
        split: Tested on.
        streams: Encoder names, joined by ``+``.
        fusion: ``single``, ``concat`` or ``scores``.
        pretrained_on: ``dataset/split`` whose training part was pretrained on; empty for the split's own training part.
    """

    plugin: Name
    label: str = Field("", max_length=60)
    backbone: Name
    dataset: DatasetName
    split: Name
    evaluator: Name
    seed: int
    streams: str = Field(max_length=500)
    fusion: Literal["single", "concat", "scores"]
    pretrained_on: str = Field("", max_length=150)

    @model_serializer(mode="wrap")
    def _brief(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is empty, so that plans and boards without a transfer read as they always did."""
        found: dict[str, Any] = handler(self)
        if not found.get("pretrained_on"):
            found.pop("pretrained_on", None)
        return found


class PretrainingData(Model):
    """What an encoder was pretrained on.

    Attributes:
        data: ``dataset/split``.
        dataset: Digest of the store, preprocessing and scale.
        clips: Digest of the names of the training clips.
        layout: Joint layout that the encoder knows.
        own: Whether these are the training clips of the split that is tested.
        absent: Joints of that layout that the tested clips do not have; they stood as invalid.
    """

    data: str = Field(max_length=150)
    dataset: str
    clips: str
    layout: str = Field(max_length=60)
    own: bool = True
    absent: tuple[str, ...] = ()


class Digests(Model):
    """What the number was made from; a record whose digests the registry no longer gives is stale.

    Attributes:
        plugin: Syntax trees of the plugin's folder.
        core: CORE_NUMERICS and the versions of backbone and evaluator.
        dataset: Content of the store, preprocessing family and version.
        split: Names of training, held-out and test clips.
        config: Resolved configuration.
        encoder: Weights that were evaluated.
    """

    plugin: str
    core: str
    dataset: str
    split: str
    config: str
    encoder: str


class Counts(Model):
    """Clips per part; `val` of the training clips belong to held-out subjects."""

    train: int
    val: int
    test: int


class Predictions(Model):
    """Where the per-clip predictions lie, relative to the output folder; the store fills it in."""

    path: str = Field(max_length=100)
    sha256: Sha256


class Record(Model):
    """One finished evaluation. Metrics are fractions; times are in seconds, sizes in megabytes (10^6 bytes).

    Attributes:
        id: Evaluation id, hash of everything that can change the numbers.
        pretrain_id: Of the pretraining whose encoders were evaluated.
        versions: Of the suite, plugin, backbone, evaluator, dataset store, torch, numpy, python; and, for a part from
            an outside package, ``plugin_distribution`` (or ``backbone_``...): its distribution's name and version.
        config: Resolved configuration: ``task``, ``train``, ``backbone``, ``evaluator``, ``frames``,
            ``preprocessing``, ``precision``.
        primary: Name of the metric that ranks.
        ci95: Metric -> bootstrap interval over clips.
        selection: ``best-on-test`` marks a diagnostic, which no board ranks.
        chosen: What the evaluator chose on held-out training subjects.
        time_s: ``pretrain``, ``extract``, ``evaluate``.
        cost: ``params``, ``pretrain_hours``, ``samples_per_s``, ``steps``, ``pretrain_peak_mb``,
            ``eval_peak_mb``, ``flops`` (of encoding one clip by the streams), ``pretrain_kj``; what was not measured
            is None or absent.
        env: Machine, device, threads, versions, git state.
        pretraining_data: Data that the encoder saw without labels; None in records older than this key, which were all
            pretrained on the training part of their own split.
        world_size: Processes that trained together.
        reproduce: Shell commands that rebuild the environment and the cell; none in records older than this key.
        ci95_subjects: Metric -> bootstrap interval over whole subjects of the test part, where it has several.
        persons: M of the clips; None in records older than this key.
        modality: What the encoders were given.
        seal: `seal_of` the rest; the store sets it when it writes and checks it when it reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    schema_: Literal[1] = Field(1, alias="schema")
    id: CellId
    pretrain_id: CellId
    suite: str
    cell: CellKey
    versions: dict[str, str | int]
    digests: Digests
    config: dict[str, Any]
    status: Literal["ok"] = "ok"
    primary: str
    metrics: dict[str, Figure]
    ci95: dict[str, tuple[Figure, Figure]]
    n: Counts
    num_classes: int
    selection: Literal["last", "best-on-test"] = "last"
    chosen: dict[str, Any] = Field({})
    predictions: Predictions
    time_s: dict[str, Figure]
    cost: dict[str, Figure | None]
    env: dict[str, Any]
    started: str
    finished: str
    pretraining_data: PretrainingData | None = None
    world_size: int = Field(1, ge=1)
    reproduce: tuple[str, ...] = ()
    ci95_subjects: dict[str, tuple[Figure, Figure]] = Field({})
    persons: int | None = Field(None, ge=1)
    modality: str = Field("joints", max_length=60)
    seal: str = ""


def seal_of(raw: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a record without its seal: a hand that edits it breaks it.

    Raises:
        ValueError: If a value has no place in canonical JSON (NaN, infinity).
    """
    return ids.digest({key: value for key, value in raw.items() if key != "seal"})


class Failure(Model):
    """One cell that did not finish; kept apart from records and never taken for a result.

    Attributes:
        id: Of the pretraining or evaluation cell.
        status: ``error`` (raised), ``refused`` (a user's mistake), ``diverged`` (loss not finite),
            ``crashed`` (process ended by itself), ``killed`` (by a signal), ``timeout``, ``interrupted``.
        stage: ``pretrain``, ``extract``, ``evaluate``.
        message: One line.
        traceback: Tail, for `error`.
        detail: Step and clip names of a divergence, exit code or signal of a crash.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    id: CellId
    cell: dict[str, Any]
    status: FailureStatus
    stage: str
    message: str
    traceback: str = ""
    detail: dict[str, Any] = Field({})
    env: dict[str, Any] = Field({})
    when: str
