"""Models of every file that a person writes or reads: cards, the registry, suites, records.

Each model is frozen and refuses unknown keys. JSON Schemas of them (for editors) come from `ssl-skel schema`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")

LayoutName = Literal["kinect_v2_25", "kinect_v1_20", "nite_15"]


def _check_name(value: str) -> str:
    if len(value) > 60 or not NAME.match(value):
        raise ValueError("a name is lower-case letters, digits and single hyphens, at most 60 characters")
    return value


def _check_dataset(value: str) -> str:
    name, plus, variant = value.partition("+")
    _check_name(name)
    if plus:
        _check_name(variant)
    return value


def _check_target(value: str) -> str:
    module, _, attribute = value.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("a target is 'module:Class'")
    return value


Name = Annotated[str, AfterValidator(_check_name),
                 WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 60})]
DatasetName = Annotated[str, AfterValidator(_check_dataset)]
"""A name, or ``name+variant`` for a dataset that was imported in another form."""

Target = Annotated[str, AfterValidator(_check_target)]
Text = Annotated[str, Field(max_length=2000)]
Distribution = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
Share = Annotated[float, Field(ge=0, lt=1)]
DatasetRef = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\+[a-z0-9-]+)?(/[a-z0-9-]+)?$", max_length=80)]


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class TrainConfig(Model):
    """How a pretraining is optimised; defaults are the suite's, cards and suites override them.

    Attributes:
        epochs: Passes over the training part; 0 leaves the encoder untrained.
        max_steps: Stop after so many optimiser steps, if given.
        batch: Clips a step, over all processes.
        accumulate: Micro-batches a step.
        frames: T, frames a clip is resampled to.
        optimizer: A timm optimiser name.
        lr: Peak learning rate.
        schedule: ``cosine`` (to `min_lr`), ``constant`` or ``multistep``.
        warmup: Share of the steps with linear warm-up.
        milestones: Shares of the steps at which `multistep` multiplies by `gamma`.
        clip_grad: Largest gradient norm, or None.
        ema: Decay of the weight average whose encoders are evaluated, or None.
        rotate: Largest rotation about the vertical, in degrees, drawn for each clip before the views.
    """

    epochs: int = Field(100, ge=0)
    max_steps: int | None = Field(None, ge=1)
    batch: int = Field(64, ge=1)
    accumulate: int = Field(1, ge=1)
    frames: int = Field(40, ge=1, le=4096)
    optimizer: str = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    betas: tuple[Share, Share] = (0.9, 0.999)
    schedule: Literal["cosine", "constant", "multistep"] = "cosine"
    min_lr: float = Field(0.0, ge=0)
    warmup: float = Field(0.0, ge=0, lt=1)
    milestones: tuple[Share, ...] = ()
    gamma: float = Field(0.1, gt=0, le=1)
    clip_grad: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    rotate: float = Field(0.0, ge=0, le=180)

    @model_validator(mode="after")
    def _divisible(self) -> TrainConfig:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} can't be cut into {self.accumulate} equal micro-batches")
        return self


def _keys_of(model: type[Model]) -> dict[str, Any]:
    """JSON Schema of a table with some of a model's keys; without defaults, which the tables before it set."""
    known = model.model_json_schema()["properties"]
    keys = {name: {word: value for word, value in said.items() if word != "default"} for name, said in known.items()}
    return {"type": "object", "properties": keys, "additionalProperties": False}


TrainKeys = Annotated[dict[str, Any], WithJsonSchema(_keys_of(TrainConfig))]
"""Some keys of `TrainConfig`. Editors check each of them; the suite checks the whole that several tables make."""


class Paper(Model):
    """Where a method comes from."""

    title: Text
    authors: Text = ""
    venue: Text = ""
    year: int | None = None
    arxiv: str | None = Field(None, max_length=40)
    url: str | None = Field(None, max_length=300, pattern=r"^https?://")


class Overrides(Model):
    """Keys that replace the defaults: of the method, of the training, of the backbone."""

    config: dict[str, Any] = {}
    train: TrainKeys = {}
    backbone: dict[str, Any] = {}


class SettingsFile(Overrides):
    """What ``--config`` reads: overrides for every method of a run, and for single ones.

    Attributes:
        plugins: Plugin -> overrides for it alone.
    """

    plugins: dict[Name, Overrides] = {}


class BackboneChoice(Model):
    """Which backbones a plugin takes; ``"*"`` stands for any."""

    default: Name
    supported: tuple[str, ...] = ("*",)


class PersonRange(Model):
    """How many persons a plugin can take."""

    min: int = Field(1, ge=1)
    max: int | None = Field(None, ge=1)


class PluginCard(Model):
    """`plugin.yaml`: the only metadata of a method.

    Attributes:
        name: Equals the folder's name.
        version: Raised with every change that can change the numbers.
        target: ``module:Class`` inside the folder.
        family: For grouping on boards.
        requires: Names of distributions that must be installed, without versions.
        batch_invariant: Whether the loss of a batch is the mean of the losses of its parts.
        min_batch: Smallest batch that the method can train on.
        distributed: What is gathered across processes, in words.
        config: Defaults of the method's keys where they differ from its Config.
        train: Defaults of the training keys.
        backbone_config: Defaults for the default backbone.
        datasets: Overrides by dataset name.
        tiny: Overrides that make one step take less than a second on a CPU.
        deviations: Where it differs from the paper, one sentence each.
        expected_failures: Contract check -> reason; strict.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    name: Name
    version: int = Field(ge=1)
    target: Target = "plugin:Plugin"
    family: Literal["reference", "contrastive", "distillation", "decorrelation", "masked", "predictive",
                    "generative", "floor", "other"]
    summary: Annotated[str, Field(max_length=200)]
    paper: Paper | None = None
    license: str = Field("MIT", max_length=60)
    requires: tuple[Distribution, ...] = ()
    backbones: BackboneChoice
    layouts: tuple[LayoutName, ...] = ("kinect_v2_25", "kinect_v1_20", "nite_15")
    persons: PersonRange = PersonRange()
    batch_invariant: bool = False
    min_batch: int = Field(1, ge=1)
    distributed: Text = ""
    config: dict[str, Any] = {}
    train: TrainKeys = {}
    backbone_config: dict[str, Any] = {}
    datasets: dict[Name, Overrides] = {}
    tiny: Overrides = Overrides()
    deviations: tuple[Text, ...] = ()
    expected_failures: dict[str, Text] = {}


class TargetEntry(Model):
    """A dataset, backbone, evaluator, executor or logger of the registry."""

    target: Target
    summary: Annotated[str, Field(max_length=200)] = ""
    config: dict[str, Any] = {}


class EvaluatorRef(Model):
    """An evaluator of a suite, with keys that differ from its defaults."""

    name: Name
    config: dict[str, Any] = {}


class SuiteEntry(Overrides):
    """One method of a suite.

    Attributes:
        plugin: Its name.
        label: How the board tells it from other entries of the same plugin.
        backbone_name: Backbone, if not the card's default.
        streams: Sets of encoder names to evaluate; None lets the plugin say.
        evaluators: Beside the suite's, for this entry alone (the ceiling: `finetune` of an untrained encoder).
        weights: Of the encoders where their scores are added up (``{joint: 0.6, bone: 0.6, motion: 0.4}`` of the
            CrosSCLR family); fixed before anything is tested, 1 where not named.
    """

    plugin: Name
    label: Annotated[str, Field(max_length=60)] = ""
    backbone_name: Name | None = None
    streams: tuple[tuple[str, ...], ...] | None = None
    evaluators: tuple[Name | EvaluatorRef, ...] = ()
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}


class Suite(Model):
    """What a board compares: everything here is the same for all entries, or is written on the entry.

    Attributes:
        datasets: ``name/split``, or ``name/group`` for every split of a group that the dataset's card names (the folds
            of a cross-validation); the entries are pretrained on the training part of each.
        targets: Where they are tested instead: encoders of every one of `datasets` on every one of these, joints
            mapped. Those pretrained on the split's own training part are among them where it stands in both lists.
        evaluators: Names, or names with keys.
        train: Training keys that all entries share (the budget).
        train_on: Dataset -> training keys that differ on it, e.g. the batch where there are few clips.
        preprocessing: A family of `ssl_skel.data.preprocess`; None takes the dataset's default.
        precision: ``fp32``, ``bf16``, or ``auto`` (bf16 on CUDA, fp32 on CPU).
        fusions: How stream sets of more than one encoder are fused.
        baseline: The plugin that others are compared with.
    """

    title: Annotated[str, Field(max_length=120)]
    summary: Text = ""
    datasets: tuple[DatasetRef, ...] = Field(min_length=1)
    targets: tuple[DatasetRef, ...] = ()
    evaluators: tuple[Name | EvaluatorRef, ...] = Field(min_length=1)
    entries: tuple[SuiteEntry, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    train: TrainKeys = {}
    train_on: dict[Name, TrainKeys] = {}
    preprocessing: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    fusions: tuple[Literal["concat", "scores"], ...] = ("concat", "scores")
    baseline: Name = "random"
    selection: Literal["last"] = "last"


class RegistryFile(Model):
    """`registry.yaml`: the index of what is shipped, or of an outside folder."""

    schema_: Literal[1] = Field(1, alias="schema")
    plugins: tuple[str, ...] = ()
    datasets: dict[Name, TargetEntry] = {}
    backbones: dict[Name, TargetEntry] = {}
    evaluators: dict[Name, TargetEntry] = {}
    executors: dict[Name, TargetEntry] = {}
    loggers: dict[Name, TargetEntry] = {}
    suites: dict[Name, Suite] = {}
