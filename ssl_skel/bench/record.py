"""The record of one evaluation: the model of its JSON file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ssl_skel.schema import Model

RECORD_SCHEMA = 1


class CellKey(Model):
    """What a row of a board is about.

    Attributes:
        label: Tells entries of one plugin apart; empty where there is one.
        train_split: Split whose training part was pretrained on (it may differ from `split` in name only).
        streams: Encoder names, joined by ``+``.
        fusion: ``single``, ``concat`` or ``scores``.
    """

    plugin: str
    label: str = ""
    backbone: str
    dataset: str
    split: str
    evaluator: str
    seed: int
    streams: str
    fusion: Literal["single", "concat", "scores"]


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
    """Where the per-clip predictions lie, relative to the output folder."""

    path: str
    sha256: str


class Record(Model):
    """One finished evaluation. Metrics are fractions; times are in seconds, sizes in megabytes (10^6 bytes).

    Attributes:
        id: Evaluation id, hash of everything that can change the numbers.
        pretrain_id: Of the pretraining whose encoders were evaluated.
        versions: Of the suite, plugin, backbone, evaluator, dataset store, torch, numpy, python.
        config: Resolved configuration: ``task``, ``train``, ``backbone``, ``evaluator``, ``frames``,
            ``preprocessing``, ``precision``.
        primary: Name of the metric that ranks.
        ci95: Metric -> bootstrap interval over clips.
        chosen: What the evaluator chose on held-out training subjects.
        time_s: ``pretrain``, ``extract``, ``evaluate``.
        cost: ``params``, ``pretrain_hours``, ``samples_per_s``, ``peak_mb``, ``steps``.
        env: Machine, device, threads, versions, git state.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    pretrain_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    suite: str
    cell: CellKey
    versions: dict[str, str | int]
    digests: Digests
    config: dict[str, Any]
    status: Literal["ok"] = "ok"
    primary: str
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    n: Counts
    num_classes: int
    selection: Literal["last"] = "last"
    chosen: dict[str, Any] = {}
    predictions: Predictions
    time_s: dict[str, float]
    cost: dict[str, float | None]
    env: dict[str, Any]
    started: str
    finished: str


class Failure(Model):
    """One cell that did not finish; kept apart from records and never taken for a result.

    Attributes:
        id: Of the pretraining or evaluation cell.
        status: ``error`` (raised), ``refused`` (a user's mistake), ``diverged`` (loss not finite), ``crashed``
            (process ended by itself), ``killed`` (by a signal), ``timeout``, ``interrupted``.
        stage: ``pretrain``, ``extract``, ``evaluate``.
        message: One line.
        traceback: Tail, for `error`.
        detail: Step and clip names of a divergence, exit code or signal of a crash.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    id: str
    cell: dict[str, Any]
    status: Literal["error", "refused", "diverged", "crashed", "killed", "timeout", "interrupted"]
    stage: str
    message: str
    traceback: str = ""
    detail: dict[str, Any] = {}
    env: dict[str, Any] = {}
    when: str
