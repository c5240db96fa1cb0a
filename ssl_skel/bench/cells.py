"""Cells of a plan: a pretraining, and the evaluations that reuse its encoders. Their ids say what they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from ssl_skel import ids
from ssl_skel.bench.record import CellKey, method_name
from ssl_skel.errors import UsageMistake
from ssl_skel.schema import DatasetName, LayoutName, Model, Name, TrainConfig


class _Cell(Model):
    """A cell. Keys that came later are left out where they are empty, so that ids and cards from before stay."""

    _later: ClassVar[tuple[str, ...]]

    @model_serializer(mode="wrap")
    def _without_empty(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in plain(self).items() if value or key not in self._later}


class Preprocessing(Model):
    """A preprocessing family and its version."""

    name: str
    version: int


class PretrainCell(_Cell):
    """One pretraining: everything that can change its weights.

    Attributes:
        id: Hash of `identity`.
        label: Name of the entry on the board; not in the id.
        split: Split whose training part is used; only its `train_digest` is in the id, so splits with the
            same training part share a pretraining.
        plugin_digest: Syntax trees of the plugin's folder, and its version.
        dataset_digest: Content of the store.
        train_digest: Names of the training clips.
        stream_sets: Sets of encoders to be evaluated; not in the id.
        backbone_code: Digest of a backbone that the suite does not ship, with its distribution; else empty.
        world_size: Processes that train together, where each makes draws of its own (dropout) and their number can
            so change the weights by more than rounding; else 0.
    """

    _later: ClassVar[tuple[str, ...]] = ("backbone_code", "world_size")

    id: str = ""
    plugin: str
    plugin_version: int
    label: str = ""
    backbone: str
    backbone_version: int
    dataset: str
    split: str
    seed: int
    config: dict[str, Any]
    train: TrainConfig
    backbone_config: dict[str, Any]
    preprocessing: Preprocessing
    precision: Literal["fp32", "bf16"]
    plugin_digest: str
    dataset_digest: str
    train_digest: str
    stream_sets: tuple[tuple[str, ...], ...]
    backbone_code: str = ""
    world_size: int = Field(0, ge=0)

    def identity(self) -> dict[str, Any]:
        """What the id is a hash of: everything that can change a weight, and nothing else."""
        left_out = {"id", "label", "split", "dataset", "stream_sets"}
        return {"core": ids.CORE_NUMERICS, **self.model_dump(mode="json", exclude=left_out)}

    def with_id(self) -> PretrainCell:
        """The same cell with its id filled in."""
        return self.model_copy(update={"id": ids.short_id(self.identity())})

    @property
    def title(self) -> str:
        """One line for people."""
        name = method_name(self.plugin, self.label)
        return f"{name} ({self.backbone}) on {self.dataset}/{self.split}, seed {self.seed}"


class Origin(Model):
    """Where encoders come from that are not tested on the split that they were pretrained on.

    Attributes:
        dataset: Pretrained on.
        split: Whose training part was pretrained on.
        layout: Joint layout that the encoders know.
        persons: M of the clips that they were pretrained on.
        joints: Version of the joint mapping; None where the tested clips have the same joints.
    """

    dataset: DatasetName
    split: Name
    layout: LayoutName
    persons: int
    joints: int | None = None

    @property
    def reference(self) -> str:
        """``dataset/split``."""
        return f"{self.dataset}/{self.split}"


class EvalCell(_Cell):
    """One evaluation of one set of encoders under one protocol.

    Attributes:
        dataset: Tested on, as is `split`.
        origin: Where the encoders come from; None for the split's own training part.
        evaluator_code: Digest of an evaluator that the suite does not ship, with its distribution; else empty.
        weights: Of the streams whose scores are added up; empty where all count the same.
    """

    _later: ClassVar[tuple[str, ...]] = ("evaluator_code", "weights")

    id: str = ""
    pretrain_id: str
    plugin: str
    label: str = ""
    backbone: str
    dataset: str
    split: str
    seed: int
    evaluator: str
    evaluator_version: int
    evaluator_config: dict[str, Any]
    streams: tuple[str, ...]
    fusion: Literal["single", "concat", "scores"]
    frames: int
    preprocessing: Preprocessing
    dataset_digest: str
    split_digest: str
    evaluator_code: str = ""
    weights: dict[str, float] = Field({})
    origin: Origin | None = None

    def identity(self) -> dict[str, Any]:
        """What the id is a hash of; the pretraining's id stands for its data, so only a joint mapping is added."""
        left_out = {"id", "label", "split", "dataset", "plugin", "backbone", "origin"}
        found = {"core": ids.CORE_NUMERICS, **self.model_dump(mode="json", exclude=left_out)}
        if self.origin is not None and self.origin.joints is not None:
            found["joints"] = {"layout": self.origin.layout, "version": self.origin.joints}
        return found

    def with_id(self) -> EvalCell:
        """The same cell with its id filled in."""
        return self.model_copy(update={"id": ids.short_id(self.identity())})

    def key(self) -> CellKey:
        """The part that a record repeats."""
        return CellKey(plugin=self.plugin, label=self.label, backbone=self.backbone, dataset=self.dataset,
                       split=self.split, evaluator=self.evaluator, seed=self.seed, streams="+".join(self.streams),
                       fusion=self.fusion, pretrained_on=self.origin.reference if self.origin else "")

    @property
    def title(self) -> str:
        """One line for people."""
        name = method_name(self.plugin, self.label)
        fused = f", {self.fusion}" if self.fusion != "single" else ""
        before = f", pretrained on {self.origin.reference}," if self.origin else ""
        return f"{self.evaluator} of {name} {'+'.join(self.streams)}{fused}{before} on {self.dataset}/{self.split}"


class Refusal(Model):
    """An entry that was refused when planned, and why."""

    plugin: str
    dataset: str
    reason: str


class Plan(Model):
    """What a run will do; written to ``plan.json`` before anything starts.

    Attributes:
        suite: Name of the suite, or ``custom``.
        pretrainings: In the order in which they run.
        evaluations: In the order in which they run.
        refused: Entries that can't be run, with the reason.
        missing: Datasets that are not prepared: name -> reason.
        warnings: Known leaks of the splits, incomplete data.
        command: Options of `bench run` that make this plan, for the records.
    """

    suite: str
    title: str = ""
    baseline: str = "random"
    pretrainings: tuple[PretrainCell, ...]
    evaluations: tuple[EvalCell, ...]
    refused: tuple[Refusal, ...] = ()
    missing: dict[str, str] = Field({})
    warnings: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def only(self, wanted: Collection[str]) -> Plan:
        """The plan of these evaluations, and of the pretrainings that they need.

        Raises:
            UsageMistake: For an id that is none of this plan's.
        """
        known = {cell.id for cell in self.evaluations}
        for one in wanted:
            if one not in known:
                raise UsageMistake(f"--only {one[:80]!r} is no evaluation of this plan",
                                   "Where it once was, code, data, keys or precision have changed since.")
        kept = tuple(cell for cell in self.evaluations if cell.id in wanted)
        sources = {cell.pretrain_id for cell in kept}
        return self.model_copy(update={
            "evaluations": kept, "pretrainings": tuple(cell for cell in self.pretrainings if cell.id in sources)})

    def shard(self, number: int, count: int) -> Plan:
        """Every `count`-th pretraining, from the `number`-th (counted from 1), with all of its evaluations."""
        pretrainings = self.pretrainings[number - 1::count]
        kept = {cell.id for cell in pretrainings}
        return self.model_copy(update={
            "pretrainings": pretrainings,
            "evaluations": tuple(cell for cell in self.evaluations if cell.pretrain_id in kept)})

    def pretraining(self, pretrain_id: str) -> PretrainCell:
        """The pretraining with this id."""
        return next(cell for cell in self.pretrainings if cell.id == pretrain_id)

    def file_content(self) -> dict[str, Any]:
        """Content of ``plan.json``: the expected cells, for boards and `bench status`."""
        return {"schema": 1, "suite": self.suite, "title": self.title, "baseline": self.baseline,
                "pretrainings": [cell.model_dump(mode="json") for cell in self.pretrainings],
                "cells": [{"id": cell.id, "pretrain_id": cell.pretrain_id, "cell": cell.key().model_dump(mode="json")}
                          for cell in self.evaluations]}
