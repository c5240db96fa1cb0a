"""Evaluating an encoder in Python, under the protocols and with the numbers of `bench run`, without writing records."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_skel.api import Backbone, EvalContext, Evaluator, FeatureSet
from ssl_skel.bench.clip_order import in_store_order, seen_order, with_order
from ssl_skel.bench.features import encode
from ssl_skel.bench.intervals import over_clips, over_subjects
from ssl_skel.bench.metrics import bootstrap_ci
from ssl_skel.data.dataset import default_root
from ssl_skel.data.label_sets import SHIPPED, find_sets
from ssl_skel.data.open import Part, SplitView, open_split
from ssl_skel.data.preprocess import get_family
from ssl_skel.encoding.encoder import Encoder
from ssl_skel.encoding.files import load_encoder
from ssl_skel.errors import UsageMistake
from ssl_skel.nn.one_thread import settle
from ssl_skel.registry import Catalogue, discover
from ssl_skel.runtime import pick_device
from ssl_skel.yamlio import validate

Fusion = Literal["concat", "scores"]


@dataclass(frozen=True)
class Evaluation:
    """What one protocol found.

    Attributes:
        evaluator: Its name.
        metrics: As fractions.
        ci95: Metric -> interval, a bootstrap over clips.
        ci95_subjects: The same over whole subjects of the test part, where it has several.
        primary: The metric that ranks.
        names: n test clips.
        labels: (n,) int64, their classes.
        top: (n, K) int64 predicted classes by falling score, K = min(5, C).
        chosen: What was chosen on held-out training subjects.
    """

    evaluator: str
    metrics: Mapping[str, float]
    ci95: Mapping[str, tuple[float, float]]
    ci95_subjects: Mapping[str, tuple[float, float]]
    primary: str
    names: Sequence[str] = field(repr=False)
    labels: Tensor = field(repr=False)
    top: Tensor = field(repr=False)
    chosen: Mapping[str, Any] = field(default_factory=dict)


def load_dataset(dataset: str, split: str = "", *, data_root: str | Path | None = None, preprocessing: str = "",
                 frames: int = 64, device: str = "cpu", incomplete: bool = False,
                 plugins: Sequence[str] = ()) -> SplitView:
    """Open a split of a prepared dataset; clips are loaded when they are first asked for.

    Args:
        dataset: Registered name, or ``name/split``.
        split: Name of a split; by default the first.
        data_root: Folder of the prepared datasets; by default ``$SSL_SKEL_DATA``, else ``./data``.
        preprocessing: Family; by default the dataset's.
        frames: T, to which clips are resampled.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        incomplete: Accept a dataset from which clips are missing.
        plugins: Folders with further datasets, as with ``--plugins``.

    Returns:
        The split: ``train`` and ``test`` (names, labels, subjects, ``clips`` on the device, ``arrays()``), ``val``,
        the layout, digests.

    Raises:
        UnknownName: If dataset, split or preprocessing don't exist.
        DataMissing: If the dataset is not prepared.
        BadData: If clips are missing.
    """
    name, _, named = dataset.partition("/")
    if split and named and split != named:
        raise UsageMistake(f"{dataset!r} and split={split!r} name two splits")
    card = discover(tuple(plugins)).load("datasets", name.partition("+")[0])
    return open_split(name, split or named or next(iter(card.splits)), data_root, card=card, frames=frames,
                      device=pick_device(device), preprocessing=preprocessing, incomplete=incomplete)


def evaluate(encoder: Encoder | Backbone | Mapping[str, Backbone] | str | Path, dataset: str | SplitView,
             evaluators: Sequence[str | Evaluator] = ("linear", "knn"), *, streams: Sequence[str] = (),
             fusion: Fusion = "concat", weights: Mapping[str, float] | None = None, seed: int = 0, frames: int = 64,
             preprocessing: str = "", device: str = "auto", data_root: str | Path | None = None,
             plugins: Sequence[str] = ()) -> dict[str, Evaluation]:
    """Evaluate frozen encoders on a split, as `bench run` does: labels of test clips are read once, at the end.

    Args:
        encoder: From `load_encoder` or a folder that it takes, or networks of your own: anything that honours
            `ssl_skel.api.Backbone`, one or several by name.
        dataset: ``name/split``, or a split from `load_dataset`.
        evaluators: Registered names, or evaluators with keys of your own.
        streams: Encoders that are evaluated together; all by default.
        fusion: How several streams are joined.
        weights: Of each stream's scores, where they are added up; 1 where not named.
        seed: For an evaluator that draws.
        frames: T, for networks of your own; a loaded encoder knows its own.
        preprocessing: Family, for networks of your own; by default the dataset's.
        device: Where to compute: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        data_root: Folder of the prepared datasets.
        plugins: As with ``--plugins``.

    Returns:
        Evaluator name -> what it found.

    Raises:
        SkelError: If names don't exist, data is missing, joints don't fit, or a protocol can't be applied.
    """
    place, catalogue = pick_device(device), discover(tuple(plugins))
    if place.type == "cpu":
        settle()  # as in a cell: the same bits on one thread and on two
    if isinstance(encoder, str | Path):
        encoder = load_encoder(encoder, plugins=plugins)
    view = (dataset if isinstance(dataset, SplitView)
            else load_dataset(dataset, data_root=data_root, preprocessing=preprocessing, plugins=plugins))
    whole = _as_encoder(encoder, view, frames, preprocessing, place)
    chosen = whole.only(streams) if streams else whole
    protocols = {item if isinstance(item, str) else item.name: _evaluator(catalogue, item) for item in evaluators}
    context = replace(
        _context(chosen, view, any(one.needs == "encoder" for one in protocols.values())), seed=seed,
        fusion=fusion if len(chosen.networks) > 1 else "single", weights=dict(weights or {}),
        label_sets=find_sets(view.name, view.train_digest, [SHIPPED, Path(data_root or default_root()) / "labels"]))
    return {name: _run(name, one, context, view, seed) for name, one in protocols.items()}


def _context(encoder: Encoder, view: SplitView, clips: bool) -> EvalContext:
    """Features, and with `clips` the encoders and clips, of a split opened with the encoder's own preprocessing."""
    if encoder.layout.name != view.layout.name:
        raise UsageMistake(f"the encoder takes {encoder.layout.name}, {view.name} has {view.layout.name}")
    family = get_family(encoder.preprocessing)
    train, test = (part.reopened(family, encoder.frames, encoder.device) for part in (view.train, view.test))

    def features(part: Part) -> FeatureSet:
        return FeatureSet(encode(encoder.networks, part.clips), part.names, part.subjects, part.labels)

    return EvalContext(
        train=features(train), val=view.val, num_classes=view.num_classes,
        test=replace(features(test), labels=None),
        device=encoder.device, encoders=dict(encoder.networks) if clips else {},
        train_clips=train.clips if clips else None, test_clips=test.clips if clips else None,
        support=features(train.at(view.support)) if len(view.support) else None)


def _as_encoder(given: Encoder | Backbone | Mapping[str, Backbone], view: SplitView, frames: int, preprocessing: str,
                device: torch.device) -> Encoder:
    """The encoder on the device. Networks of the caller's own are copied: they stay as they are, and trainable."""
    if isinstance(given, Encoder):
        if given.device == device:
            return given
        copies = {name: copy.deepcopy(network).to(device) for name, network in given.networks.items()}
        return Encoder(copies, given.layout, given.frames, given.preprocessing, device, given.card)
    networks = {"encoder": given} if isinstance(given, nn.Module) else given
    if not (isinstance(networks, Mapping) and networks and all(isinstance(n, nn.Module) for n in networks.values())):
        raise UsageMistake(f"{type(given).__name__} is no encoder", "Give what load_encoder returned, or networks.")
    copies = {name: copy.deepcopy(network).eval().requires_grad_(False).to(device)
              for name, network in networks.items()}
    return Encoder(copies, view.layout, frames, preprocessing or view.preprocessing.name, device)


def _evaluator(catalogue: Catalogue, item: str | Evaluator) -> Evaluator:
    if isinstance(item, Evaluator):
        return item
    entry = catalogue.get("evaluators", item)
    cls = entry.load()
    made: Evaluator = cls(validate(cls.Config, entry.config, f"evaluator {item}"))
    return made


def _run(name: str, evaluator: Evaluator, context: EvalContext, view: SplitView, seed: int) -> Evaluation:
    labels = view.test.labels
    order = seen_order(evaluator, len(labels))
    result = in_store_order(evaluator.evaluate(with_order(context, order)), order)
    correct = result.top[:, 0].cpu() == labels
    clips = {**over_clips(evaluator, result, labels, view.num_classes, seed), "top1": bootstrap_ci(correct, seed=seed)}
    subjects = over_subjects(evaluator, result, labels, view.num_classes, view.test.subjects, seed)
    return Evaluation(name, evaluator.score(result, labels, view.num_classes), clips, subjects, evaluator.primary,
                      view.test.names, labels, result.top.cpu(), dict(result.chosen))
