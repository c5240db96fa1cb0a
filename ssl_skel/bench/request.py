"""Turns the options of the command line into a suite and a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ssl_skel.bench.cells import Plan
from ssl_skel.bench.plan import PlanRequest, make_plan
from ssl_skel.bench.reproduce import command_words
from ssl_skel.bench.settings import settings_of
from ssl_skel.errors import BadCard, UsageMistake
from ssl_skel.registry import Catalogue
from ssl_skel.runtime import pick_device, pick_precision
from ssl_skel.schema import EvaluatorRef, Suite, SuiteEntry
from ssl_skel.yamlio import validate


@dataclass(frozen=True)
class Asked:
    """What the command line said; empty means the suite's own.

    Attributes:
        processes: That share the work of a cell.
        remote: Whether cells run on other machines, so that this one need not have the device.
        only: Ids of evaluations; empty means all.
    """

    suite: str | None = None
    names: Sequence[str] = ()
    backbones: Sequence[str] = ()
    datasets: Sequence[str] = ()
    targets: Sequence[str] = ()
    evaluators: Sequence[str] = ()
    seeds: Sequence[int] = ()
    settings: Sequence[str] = ()
    config_files: Sequence[Path] = ()
    precision: str | None = None
    device: str = "auto"
    processes: int = 1
    remote: bool = False
    only: Sequence[str] = ()


def plan_of(asked: Asked, catalogue: Catalogue, data_root: Path) -> Plan:
    """Plan what was asked for.

    Args:
        asked: The options.
        catalogue: Where names are looked up.
        data_root: Folder of the prepared datasets.

    Raises:
        SkelError: For a name, key or value that does not exist; says the nearest.
    """
    suite = narrowed(asked, catalogue)
    precision = pick_precision(asked.precision or suite.precision, _device(asked))
    settings = settings_of(asked.config_files, asked.settings, [entry.plugin for entry in suite.entries],
                           catalogue.names("plugins"))
    plan = make_plan(PlanRequest(suite, asked.suite or "custom", data_root, precision, settings, asked.processes),
                     catalogue)
    plan = plan.only(asked.only) if asked.only else plan
    return plan.model_copy(update={"command": command_words(asked, settings, precision)})


def _device(asked: Asked) -> torch.device:
    return torch.device("cuda") if asked.remote and asked.device == "cuda" else pick_device(asked.device)


def narrowed(asked: Asked, catalogue: Catalogue) -> Suite:
    """The suite that was asked for: filtered, or widened by plugins that it does not list, or made from options.

    Raises:
        UnknownName: For a suite, plugin, backbone, dataset or evaluator that does not exist.
        UsageMistake: If neither a suite nor plugins and datasets are given.
    """
    for kind, names in (("plugins", asked.names), ("backbones", asked.backbones), ("evaluators", asked.evaluators),
                        ("datasets", [name.partition("/")[0].partition("+")[0]
                                      for name in (*asked.datasets, *asked.targets)])):
        for name in names:
            catalogue.get(kind, name)
    if asked.suite is None:
        if not asked.names or not asked.datasets:
            raise UsageMistake("nothing to run", "Give --suite, or at least one -p PLUGIN and one -d DATASET.")
        suite = _checked({"title": "Chosen on the command line", "datasets": tuple(asked.datasets),
                          "evaluators": ("linear", "knn"), "entries": tuple(SuiteEntry(plugin=n) for n in asked.names)})
    else:
        suite = catalogue.suite(asked.suite)
    changes: dict[str, object] = {}
    entries = list(suite.entries)
    if asked.names:
        listed = [entry for entry in suite.entries if entry.plugin in asked.names]
        added = [SuiteEntry(plugin=name) for name in asked.names if name not in {e.plugin for e in listed}]
        entries = [*listed, *added]
    if asked.datasets:
        changes["datasets"] = tuple(asked.datasets)
    if asked.targets:
        changes["targets"] = tuple(asked.targets)
    if asked.evaluators:
        own = {item.name: item for item in suite.evaluators if isinstance(item, EvaluatorRef)}
        changes["evaluators"] = tuple(own.get(name, name) for name in dict.fromkeys(asked.evaluators))
        entries = [_only_asked(entry, asked.evaluators) for entry in entries]
    if asked.seeds:
        changes["seeds"] = tuple(dict.fromkeys(asked.seeds))
    changes["entries"] = tuple(entries)
    suite = _checked({**{name: getattr(suite, name) for name in Suite.model_fields}, **changes})
    if asked.backbones:
        entries = [_on_backbone(entry, name, catalogue) for entry in suite.entries for name in asked.backbones]
        suite = suite.model_copy(update={"entries": tuple(entries)})
    return suite


def _only_asked(entry: SuiteEntry, evaluators: Sequence[str]) -> SuiteEntry:
    """An entry with those of its own evaluators that were asked for."""
    own = tuple(item for item in entry.evaluators
                if (item if isinstance(item, str) else item.name) in evaluators)
    return entry.model_copy(update={"evaluators": own})


def _checked(content: dict[str, object]) -> Suite:
    """A suite made of options, held to the rules of one from a file."""
    try:
        return validate(Suite, content, "options")
    except BadCard as error:
        raise UsageMistake(error.what) from None


def _on_backbone(entry: SuiteEntry, name: str, catalogue: Catalogue) -> SuiteEntry:
    """The entry on another backbone; keys that were meant for its own backbone are left behind."""
    if entry.plugin not in catalogue.names("plugins"):
        return entry  # refused when it is resolved
    card = catalogue.get("plugins", entry.plugin).card
    own = entry.backbone_name or (card.backbones.default if card else "")
    return entry if name == own else entry.model_copy(update={"backbone_name": name, "backbone": {}})
