"""What is checked: a plugin in its tiny configuration, and made-up clips for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_skel.api import Backbone, Batch, PretextTask
from ssl_skel.bench.resolve import Resolved, Settings, merge, resolve
from ssl_skel.data.layouts import LAYOUTS, Layout, get_layout
from ssl_skel.errors import BrokenPlugin, SkelError
from ssl_skel.registry import Catalogue, Entry
from ssl_skel.schema import PluginCard, Suite, SuiteEntry
from ssl_skel.seed import derive, generator

SEED = 20_108


class Violation(AssertionError):
    """The plugin breaks the contract; the message says how."""


class Skipped(Exception):
    """A check does not apply; the message says why."""


def require(condition: bool, message: str) -> None:
    """Raise a `Violation` unless a condition holds."""
    if not condition:
        raise Violation(message)


@dataclass(frozen=True)
class Subject:
    """A plugin under check.

    Attributes:
        entry: Of the registry.
        catalogue: Where its backbones are looked up.
        backbone: Name of the backbone to check it with; "" for its default.
    """

    entry: Entry
    catalogue: Catalogue
    backbone: str = ""

    @property
    def card(self) -> PluginCard:
        """Its card.

        Raises:
            BrokenPlugin: If it has none.
        """
        if self.entry.card is None:
            raise BrokenPlugin(f"plugin {self.entry.name!r} is broken: {self.entry.error}")
        return self.entry.card

    def layouts(self) -> list[Layout]:
        """Supported layouts, each with every supported number of persons up to three."""
        card = self.card
        persons = [m for m in (1, 2, 3) if m >= card.persons.min and m <= (card.persons.max or 3)]
        return [get_layout(name, m) for name in LAYOUTS if name in card.layouts for m in persons]

    def resolved(self, layout: Layout, **train: Any) -> Resolved:
        """The plugin's tiny configuration on a layout."""
        card, tiny = self.card, self.card.tiny
        own = not self.backbone or self.backbone == card.backbones.default
        small = tiny.backbone if own else self.catalogue.load("backbones", self.backbone).tiny
        entry = SuiteEntry(
            plugin=card.name, backbone_name=self.backbone or None, config=merge(tiny.config),
            train=merge(tiny.train, train), backbone=dict(small))
        suite = Suite(title="contract", datasets=("synthetic/xsub",), evaluators=("knn",), entries=(entry,))
        return resolve(self.catalogue, suite, entry, "synthetic", layout, Settings())

    def task(self, layout: Layout, seed: int = SEED) -> PretextTask:
        """A new task with weights drawn from `seed`."""
        found = self.resolved(layout)

        def backbone() -> Backbone:
            return found.backbone_class(found.backbone_config, layout)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "init"))
            return found.task(found.config, backbone, layout)

    def usable(self) -> Iterator[tuple[Layout, PretextTask]]:
        """A task for every layout and number of persons that the plugin does not refuse."""
        for layout in self.layouts():
            try:
                task = self.task(layout)
            except SkelError:
                continue  # refused when planned, with a reason: that is allowed
            yield layout, task

    def first(self) -> tuple[Layout, PretextTask]:
        """One usable layout with its task.

        Raises:
            Violation: If the plugin refuses every layout.
        """
        for found in self.usable():
            return found
        raise Violation("the plugin refuses every layout and number of persons")


def clips(layout: Layout, count: int, frames: int = 12, seed: int = 0, dropout: float = 0.1) -> Batch:
    """Make up smooth motion with missing joints and, in every third clip, absent further persons.

    Args:
        layout: Joints V and persons M.
        count: B.
        frames: T.
        seed: Of the motion.
        dropout: Share of joints that are invalid.

    Returns:
        A batch whose person 1 has a valid joint in every clip.
    """
    gen = generator(seed, "contract", layout.name, layout.persons)
    shape = (count, layout.persons, frames, layout.num_joints)
    pose = torch.randn(count, layout.persons, 1, layout.num_joints, 3, generator=gen)
    steps = 0.1 * torch.randn(*shape, 3, generator=gen)
    xyz = 0.4 * pose + steps.cumsum(2)
    valid = torch.rand(shape, generator=gen) >= dropout
    valid[:, 0, :, 0] = True
    if layout.persons > 1:
        valid[::3, 1:] = False
    return Batch(xyz * valid[..., None], valid, torch.arange(count), layout)


def poisoned(batch: Batch) -> Batch:
    """The same batch with nonsense at its invalid points."""
    junk = 1e3 * torch.randn(batch.xyz.shape, generator=generator(1, "junk"))
    return Batch(torch.where(batch.valid[..., None], batch.xyz, junk), batch.valid, batch.index, batch.layout)


def loss_of(task: PretextTask, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
    """One forward pass, every draw seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "forward"))
        with torch.no_grad():
            views = task.views(batch, generator(seed, "views"))
        return task(views)  # type: ignore[no-any-return]


@contextmanager
def untouched_rng(what: str) -> Iterator[None]:
    """Check that a block leaves the global random state alone."""
    before = torch.random.get_rng_state()
    yield
    require(bool(torch.equal(before, torch.random.get_rng_state())), f"{what} read or reseeded the global RNG")
