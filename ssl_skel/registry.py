"""What can be chosen by name, where each entry comes from, and which entries are broken.

Entries are found in a fixed order: the registry and plugins that the package carries, installed entry points
(groups ``ssl_skel.plugins``, ``.backbones``, ``.evaluators``, ``.datasets``, ``.executors``, ``.loggers``), then
the folders in ``$SSL_SKEL_PLUGINS`` and those given by ``--plugins``. Cards are read, code is not imported until an
entry is used. The first claimant of a name keeps it; a later one is listed as broken and names both origins. Where the
later one was given by hand (``--plugins``), choosing that name is an error: it was not meant to be the first one's.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssl_skel import ids
from ssl_skel.errors import BadCard, BrokenPlugin, SkelError, UnknownName
from ssl_skel.schema import NAME, PluginCard, RegistryFile, Suite, TargetEntry
from ssl_skel.sources import module_file, package_folder, python_files, static_version
from ssl_skel.yamlio import load_yaml, validate

KINDS = ("plugins", "datasets", "backbones", "evaluators", "executors", "loggers", "suites")
_TARGET_KINDS = KINDS[1:-1]
_PLUGIN_PACKAGE = "ssl_skel_plugins"
PATHS = "SSL_SKEL_PLUGINS"
"""Environment variable with folders that are searched as if each was given by ``--plugins``."""


@dataclass(frozen=True)
class Entry:
    """Something that can be chosen by name.

    Attributes:
        kind: One of `KINDS`.
        name: Unique within its kind.
        origin: Where it was found: a folder, a file, or ``distribution version``.
        target: ``module:Class``; relative to `folder`, if that is given.
        summary: One line.
        folder: Of a plugin; of a registry that has the target's module beside it.
        card: Of a plugin.
        suite: Of a suite.
        config: Default keys of a backbone or evaluator.
        error: Why it can't be used, or empty.
        distribution: Name and version of the installed distribution that brings it, or empty.
        shipped: Whether the suite itself brings it.
    """

    kind: str
    name: str
    origin: str
    target: str = ""
    summary: str = ""
    folder: Path | None = None
    card: PluginCard | None = None
    suite: Suite | None = None
    config: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    distribution: str = ""
    shipped: bool = False

    @property
    def state(self) -> str:
        """``ok`` or ``broken``, without importing anything."""
        return "broken" if self.error else "ok"

    @property
    def given(self) -> bool:
        """Whether somebody pointed to it by ``--plugins`` or `PATHS`, instead of installing it."""
        return not self.shipped and not self.distribution

    def same_as(self, other: Entry) -> bool:
        """Whether both stand for the same thing, found twice."""
        parts = [(one.folder and one.folder.resolve(), one.target, one.suite, one.config) for one in (self, other)]
        return parts[0] == parts[1]

    def load(self) -> Any:
        """Import the target.

        Raises:
            BrokenPlugin: If the entry is broken, its import fails, or it names something of another kind; tells the
                origin and the reason.
        """
        if self.error:
            raise BrokenPlugin(f"{self.kind[:-1]} {self.name!r} ({self.origin}) is broken: {self.error}")
        module, _, attribute = self.target.partition(":")
        try:
            loaded = _plugin_module(self.folder, module) if self.folder else importlib.import_module(module)
            found = getattr(loaded, attribute)
        except SkelError:
            raise
        except (Exception, SystemExit) as error:  # a plugin may raise anything while it is imported
            reason = f"{type(error).__name__}: {error}"
            raise BrokenPlugin(f"{self.kind[:-1]} {self.name!r} ({self.origin}) can't be imported: {reason}") from error
        if problem := _not_of_kind(self.kind, found):
            raise BrokenPlugin(f"{self.kind[:-1]} {self.name!r} ({self.origin}) is broken: {self.target} is {problem}")
        return found

    @property
    def version(self) -> int | None:
        """Of a plugin's card, or of the class of a backbone or evaluator (read from its source); else None.

        Raises:
            BrokenPlugin: If the source does not parse.
        """
        if self.card:
            return self.card.version
        known = self.kind in ("backbones", "evaluators") and self.target
        return static_version(self.target, self.folder) if known else None

    def digest(self) -> str:
        """Digest of the code (syntax trees of the Python files) and version, and of the distribution, if any.

        The files are those of a plugin's folder, or those beside the module of another entry in its package.

        Raises:
            BrokenPlugin: If there is no code, or a file does not parse.
        """
        if self.card and self.folder:
            files, root = [p for p in self.folder.rglob("*.py") if "__pycache__" not in p.parts], self.folder
        else:
            module = module_file(self.target.partition(":")[0], self.folder)
            if module is None:
                raise BrokenPlugin(f"{self.kind[:-1]} {self.name!r} ({self.origin}) has no source to digest")
            files, root = python_files(module)
        brought = {"distribution": self.distribution} if self.distribution else {}
        try:
            return ids.digest({"code": ids.code_digest(files, root), "version": self.version, **brought})
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
            raise BrokenPlugin(f"{self.kind[:-1]} {self.name!r} ({self.origin}) does not parse: {error}") from None

    def outside_code(self) -> str:
        """`digest` of what comes from outside; empty for what the suite ships, whose versions say enough."""
        return "" if self.shipped else self.digest()


class Catalogue:
    """All entries of all kinds, in the order in which they were found."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.broken: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Add an entry; a name that is taken, or an entry with an error, goes to `broken`."""
        table = self._entries[entry.kind]
        if entry.name in table and not entry.error:
            first = table[entry.name].origin
            reason = f"the name {entry.name!r} is taken: {first} has it, {entry.origin} claims it too"
            entry = replace(entry, error=reason)
        if entry.error:
            self.broken.append(entry)
        else:
            table[entry.name] = entry

    def names(self, kind: str) -> list[str]:
        """Usable names of a kind, sorted."""
        return sorted(self._entries[kind])

    def entries(self, kind: str) -> list[Entry]:
        """Usable entries of a kind, sorted by name."""
        return [self._entries[kind][name] for name in self.names(kind)]

    def plugin_cards(self) -> dict[str, PluginCard]:
        """Plugin -> card, of those that are usable."""
        return {entry.name: entry.card for entry in self.entries("plugins") if entry.card}

    def get(self, kind: str, name: str) -> Entry:
        """Look an entry up.

        Raises:
            BrokenPlugin: If an entry of that name exists but is broken, or one that was given by ``--plugins`` claims
                the name, or lies in a folder of that name, and can't be used.
            UnknownName: If none exists; suggests the nearest.
        """
        table = self._entries[kind]
        found = table.get(name)
        for entry in self.broken:
            if entry.kind == kind and _meant(entry, name, found):
                raise BrokenPlugin(f"{kind[:-1]} {name!r} ({entry.origin}) is broken: {entry.error}")
        if found is None:
            raise UnknownName(kind[:-1], name, table)
        return found

    def load(self, kind: str, name: str) -> Any:
        """Look an entry up and import its target (see `Entry.load`)."""
        return self.get(kind, name).load()

    def suite(self, name: str) -> Suite:
        """Look a suite up."""
        suite = self.get("suites", name).suite
        assert suite is not None  # a suite entry always has one
        return suite


def bundled_root() -> Path:
    """Folder with ``registry.yaml`` and ``plugins/``: inside the wheel, or the repository's top."""
    packed = Path(__file__).parent / "_bundled"
    return packed if packed.is_dir() else Path(__file__).parent.parent


@lru_cache(maxsize=8)
def discover(paths: tuple[str, ...] = ()) -> Catalogue:
    """Find everything that can be chosen.

    Args:
        paths: Folders given by ``--plugins``: a plugin, a folder of plugins, or a folder with its own
            ``registry.yaml``.

    Raises:
        BadCard: If a given folder does not exist, or holds neither.
    """
    catalogue = Catalogue()
    root = bundled_root()
    for entry in _registry_entries(root / "registry.yaml", f"ssl_skel ({root})"):
        catalogue.add(replace(entry, shipped=True))
    for entry in _entry_points():
        catalogue.add(entry)
    told = [text for text in os.environ.get(PATHS, "").split(os.pathsep) if text]
    for path in dict.fromkeys(Path(text).expanduser().resolve() for text in (*told, *paths)):
        for entry in _outside(path):
            catalogue.add(entry)
    return catalogue


def load_target(target: str) -> Any:
    """Import ``module:attribute``; the module may lie in a folder given by ``$SSL_SKEL_PLUGINS``."""
    module, _, attribute = target.partition(":")
    if module.startswith(f"{_PLUGIN_PACKAGE}."):
        for kind in KINDS[:-1]:
            for entry in discover().entries(kind):
                if entry.folder:
                    _plugin_package(entry.folder)
    return getattr(importlib.import_module(module), attribute)


def load_plugin(name: str, paths: Sequence[str] = ()) -> Any:
    """Import a plugin's task class (shorthand for ``discover(paths).load("plugins", name)``)."""
    return discover(tuple(paths)).load("plugins", name)


def _outside(path: Path) -> Iterator[Entry]:
    if not path.is_dir():
        raise BadCard(f"--plugins {path}: no such folder")
    if (path / "plugin.yaml").is_file():
        yield plugin_entry(path, str(path))
    elif (path / "registry.yaml").is_file():
        yield from _registry_entries(path / "registry.yaml", str(path))
    else:
        cards = sorted(path.glob("*/plugin.yaml"))
        if not cards:
            raise BadCard(f"--plugins {path}: holds no plugin.yaml, registry.yaml or folder of plugins")
        for card in cards:
            yield plugin_entry(card.parent, str(card.parent))


def _registry_entries(path: Path, origin: str) -> Iterator[Entry]:
    index = validate(RegistryFile, load_yaml(path), str(path))
    for pattern in index.plugins:
        if ".." in Path(pattern).parts or Path(pattern).is_absolute():
            raise BadCard(f"{path}: plugins: {pattern!r} leaves the folder")
        for folder in _folders(path, pattern):
            yield plugin_entry(folder, origin)
    for kind in _TARGET_KINDS:
        for name, item in getattr(index, kind).items():
            yield _target_entry(kind, name, item, origin, path.parent)
    for name, suite in index.suites.items():
        yield Entry("suites", name, origin, summary=suite.title, suite=suite)


def _folders(path: Path, pattern: str) -> list[Path]:
    try:
        return [folder for folder in sorted(path.parent.glob(pattern))
                if folder.is_dir() and not folder.name.startswith(("_", "."))]
    except (OSError, ValueError, NotImplementedError) as error:  # too long a name, no pattern at all
        raise BadCard(f"{path}: plugins: {pattern[:80]!r} names no folders: "
                      f"{getattr(error, 'strerror', None) or error}") from None


def _target_entry(kind: str, name: str, item: TargetEntry, origin: str, folder: Path) -> Entry:
    module = item.target.partition(":")[0]
    beside = "." not in module and module_file(module, folder) is not None
    return Entry(kind, name, origin, target=item.target, summary=item.summary, config=dict(item.config),
                 folder=folder if beside else None)


def plugin_entry(folder: Path, origin: str) -> Entry:
    """Read a plugin's card; whatever is wrong becomes the entry's error.

    Args:
        folder: The plugin's folder.
        origin: How the listing names where it comes from.
    """
    name = folder.name.replace("_", "-")
    try:
        card = validate(PluginCard, load_yaml(folder / "plugin.yaml"), str(folder / "plugin.yaml"))
    except BadCard as error:
        return Entry("plugins", name, origin, folder=folder, error=error.message)
    base = Entry("plugins", card.name, origin, card.target, card.summary, folder, card)
    problem = _card_problem(card, folder)
    return replace(base, error=problem) if problem else base


def _card_problem(card: PluginCard, folder: Path) -> str:
    if card.name.replace("-", "_") != folder.name.replace("-", "_"):
        return f"its card says {card.name!r}, its folder {folder.name!r}; they must be equal"
    module = card.target.partition(":")[0]
    if not (folder / (module.replace(".", "/") + ".py")).is_file():
        return f"its target {card.target!r} names no file in {folder}"
    missing = [name for name in card.requires if not _installed(name)]
    return f"it requires {', '.join(missing)}, which is not installed" if missing else ""


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _entry_points() -> Iterator[Entry]:
    for kind in KINDS[:-1]:
        for point in sorted(importlib.metadata.entry_points(group=f"ssl_skel.{kind}"), key=lambda p: p.name):
            dist = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
            yield replace(_pointed(kind, point, dist), distribution=dist)


def _pointed(kind: str, point: importlib.metadata.EntryPoint, dist: str) -> Entry:
    if kind != "plugins":
        bad = "" if NAME.match(point.name) else "its name must be lower-case letters, digits and single hyphens"
        about = point.dist.metadata if point.dist else None
        summary = about["Summary"] if about and "Summary" in about else ""  # an entry point has none of its own
        return Entry(kind, point.name, dist, target=point.value, error=bad, summary=summary[:200])
    folder = package_folder(point.value.partition(":")[0])
    if folder is None:
        return Entry(kind, point.name, dist, error=f"its package {point.value!r} can't be found")
    return plugin_entry(folder, dist)


def _meant(entry: Entry, name: str, found: Entry | None) -> bool:
    """Whether whoever says `name` may mean this broken entry, though another of that name may have been found first."""
    if found is None and entry.name == name:
        return True
    if not entry.given or (found is not None and entry.same_as(found)):
        return False
    folder = entry.folder.name.replace("_", "-") if entry.kind == "plugins" and entry.folder else ""
    return name in (entry.name, folder)


def _not_of_kind(kind: str, found: Any) -> str:
    """What `found` is, if it can't be an entry of `kind`."""
    if kind == "datasets":
        from ssl_skel.data.card import DatasetCard

        return "" if isinstance(found, DatasetCard) else f"a {type(found).__name__}, no DatasetCard"
    if kind in ("plugins", "backbones") and not isinstance(found, type):
        return f"a {type(found).__name__}, no class"
    return ""


def _plugin_package(folder: Path) -> str:
    """Make a folder a package of its own, so that relative imports work; its dotted name."""
    unique = ids.short_id(str(folder.resolve()))[:8]
    package = f"{_PLUGIN_PACKAGE}.{folder.name.replace('-', '_')}_{unique}"
    for name, places in ((_PLUGIN_PACKAGE, []), (package, [str(folder)])):
        if name not in sys.modules:
            parent = types.ModuleType(name)
            parent.__path__ = places
            sys.modules[name] = parent
    return package


def _plugin_module(folder: Path, module: str) -> types.ModuleType:
    """Import a module of a plugin's folder."""
    return importlib.import_module(f"{_plugin_package(folder)}.{module}")
