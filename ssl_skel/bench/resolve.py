"""Resolves the configuration of one entry: defaults, card, dataset, suite, entry, command line, in that order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ssl_skel.api import Backbone, PretextTask
from ssl_skel.data.layouts import Layout
from ssl_skel.errors import BadCard, BrokenPlugin, SkelError, UnknownName, UsageMistake, suggest
from ssl_skel.registry import Catalogue, Entry
from ssl_skel.schema import Overrides, PluginCard, Suite, SuiteEntry, TrainConfig
from ssl_skel.yamlio import parse_value, validate


@dataclass(frozen=True)
class Settings:
    """``--set`` values: for every plugin, or for one (``plugin:key=value``)."""

    common: Overrides = field(default_factory=Overrides)
    by_plugin: dict[str, Overrides] = field(default_factory=dict)

    def of(self, plugin: str) -> list[Overrides]:
        """Overrides that apply to a plugin, the more specific last."""
        return [self.common, *([self.by_plugin[plugin]] if plugin in self.by_plugin else [])]


def parse_settings(items: Iterable[str], plugins: Sequence[str]) -> Settings:
    """Parse ``--set`` options.

    Args:
        items: ``[PLUGIN:][train.|backbone.]KEY=VALUE``; the value is YAML.
        plugins: Names that may stand before the colon.

    Raises:
        UsageMistake: If an option is not of that form.
    """
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for item in items:
        key, sign, text = item.partition("=")
        if not sign or not key:
            raise UsageMistake(f"--set {item!r} is not KEY=VALUE", "For example --set train.lr=0.001")
        plugin, colon, rest = key.partition(":")
        if not colon:
            plugin, rest = "", key
        elif plugin not in plugins:
            raise UsageMistake(f"--set {item!r}: no plugin {plugin!r} is part of this run", suggest(plugin, plugins))
        group, dot, name = rest.partition(".")
        if not (dot and group in ("train", "backbone", "config")):
            group, name = "config", rest
        if not all(name.split(".")):
            raise UsageMistake(f"--set {item!r} names no key", "For example --set train.lr=0.001")
        try:
            value = parse_value(text, f"--set {item[:100]!r}")
        except BadCard as error:
            raise UsageMistake(error.what) from None
        table = tables.setdefault(plugin, {"config": {}, "train": {}, "backbone": {}})[group]
        table.update(merge(table, _nested(name, value)))
    found = {plugin: Overrides(**table) for plugin, table in tables.items()}
    return Settings(found.pop("", Overrides()), found)


def _nested(dotted: str, value: Any) -> dict[str, Any]:
    first, _, rest = dotted.partition(".")
    return {first: _nested(rest, value) if rest else value}


def merge(*tables: dict[str, Any]) -> dict[str, Any]:
    """Merge nested dicts; later ones win, key by key."""
    merged: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            old = merged.get(key)
            merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


@dataclass(frozen=True)
class Resolved:
    """An entry with all its keys filled in."""

    task: type[PretextTask]
    config: BaseModel
    train: TrainConfig
    backbone: Entry
    backbone_class: type[Backbone]
    backbone_config: BaseModel
    stream_sets: tuple[tuple[str, ...], ...]

    @property
    def plain(self) -> dict[str, Any]:
        """The three configurations as plain data."""
        return {"config": self.config.model_dump(mode="json"), "train": self.train.model_dump(mode="json"),
                "backbone": self.backbone_config.model_dump(mode="json")}


def resolve(catalogue: Catalogue, suite: Suite, entry: SuiteEntry, dataset: str, layout: Layout,
            settings: Settings) -> Resolved:
    """Resolve one entry of a suite on one dataset.

    Raises:
        SkelError: A broken plugin, an unsupported backbone or layout, a key that does not exist (with the nearest),
            a value of the wrong type, or the method's own refusal; always with the reason.
    """
    plugin = catalogue.get("plugins", entry.plugin)
    card = plugin.card
    if card is None:
        raise BrokenPlugin(f"plugin {entry.plugin!r} has no card")
    task = _load_class(plugin, PretextTask)
    backbone = _backbone(catalogue, card, entry)
    backbone_class = _load_class(backbone, Backbone)
    on_dataset = card.datasets.get(dataset, Overrides())
    said = settings.of(entry.plugin)
    own = backbone.name == card.backbones.default
    where = f"{entry.plugin} on {dataset}"
    config = validate(task.Config, merge(card.config, on_dataset.config, entry.config, *(s.config for s in said)),
                      f"{where}: config")
    train_table = merge(card.train, on_dataset.train, suite.train, suite.train_on.get(dataset, {}), entry.train,
                        *(s.train for s in said))
    if card.train.get("epochs") == 0:
        train_table["epochs"] = 0  # a floor is never trained, whatever the suite's budget
    train = validate(TrainConfig, train_table, f"{where}: train")
    backbone_config = validate(
        backbone_class.Config,
        merge(backbone.config, card.backbone_config if own else {}, on_dataset.backbone if own else {}, entry.backbone,
              *(s.backbone for s in said)), f"{where}: backbone {backbone.name}")
    _check_limits(card, layout, train, where)
    known = _ask(task, config, backbone_class, backbone_config, layout, train, where)
    sets = entry.streams if entry.streams is not None else known
    _check_streams(sets, known, where)
    return Resolved(task, config, train, backbone, backbone_class, backbone_config, sets)


def _ask(task: type[PretextTask], config: BaseModel, backbone: type[Backbone], backbone_config: BaseModel,
         layout: Layout, train: TrainConfig, where: str) -> tuple[tuple[str, ...], ...]:
    """Let method and backbone refuse, and name the sets of encoders."""
    try:
        backbone.check(backbone_config, layout, train.frames)
        task.check(config, layout)
        if train.epochs:
            task.check_training(config, layout, train)
        return tuple(tuple(names) for names in task.stream_sets(config))
    except SkelError:
        raise
    except Exception as error:  # a plugin's code; its siblings are planned all the same
        raise BrokenPlugin(f"{where}: the plugin's check failed: {type(error).__name__}: {error}") from None


def _load_class(entry: Entry, base: type[Any]) -> Any:
    loaded = entry.load()
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise BrokenPlugin(f"{entry.kind[:-1]} {entry.name!r} ({entry.origin}): {entry.target} is no {base.__name__}")
    config = getattr(loaded, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise BrokenPlugin(f"{entry.kind[:-1]} {entry.name!r} ({entry.origin}): its Config is no pydantic model")
    return loaded


def _backbone(catalogue: Catalogue, card: PluginCard, entry: SuiteEntry) -> Entry:
    name = entry.backbone_name or card.backbones.default
    if "*" not in card.backbones.supported and name not in (card.backbones.default, *card.backbones.supported):
        raise UsageMistake(f"plugin {card.name!r} does not support backbone {name!r}",
                           f"It takes {', '.join(sorted({card.backbones.default, *card.backbones.supported}))}.")
    return catalogue.get("backbones", name)


def _check_optimizer(name: str) -> None:
    from timm.optim import list_optimizers

    known = list_optimizers()
    if name not in known:
        raise UnknownName("optimiser", name, known)


def _check_limits(card: PluginCard, layout: Layout, train: TrainConfig, where: str) -> None:
    if layout.name not in card.layouts:
        raise SkelError(f"{where}: the plugin does not support layout {layout.name}")
    if layout.persons < card.persons.min or (card.persons.max and layout.persons > card.persons.max):
        raise SkelError(f"{where}: the plugin takes {card.persons.min} to {card.persons.max or 'any number of'} "
                        f"persons, the clips have up to {layout.persons}")
    _check_optimizer(train.optimizer)
    if train.batch // train.accumulate < card.min_batch and train.epochs:
        raise BadCard(f"{where}: a batch of {train.batch // train.accumulate} is smaller than the plugin's least, "
                      f"{card.min_batch}", "Raise train.batch.")


def _check_streams(asked: Sequence[Sequence[str]], known: Sequence[Sequence[str]], where: str) -> None:
    names = {name for one in known for name in one}
    for one in asked:
        unknown = sorted(set(one) - names)
        if unknown or not one:
            raise UsageMistake(f"{where}: this configuration has no stream {', '.join(unknown) or '(none named)'}",
                               f"It has {', '.join(sorted(names))}.")
