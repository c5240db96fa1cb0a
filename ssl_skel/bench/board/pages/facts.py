"""What pages say of plugins and datasets; kept in the manifest, so that a board is rendered again without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from ssl_skel.bench.record import CellKey
from ssl_skel.errors import SkelError
from ssl_skel.schema import Model, PluginCard

if TYPE_CHECKING:
    from ssl_skel.data.card import DatasetCard, Split
    from ssl_skel.registry import Catalogue


class SplitFacts(Model):
    """A split, as its dataset's card has it; `expected` clips in training and test of the complete dataset."""

    name: str
    description: str
    expected: tuple[int, int] | None = None
    known_leak: str = ""
    clean_twin: str = ""
    published: bool = True


class DatasetFacts(Model):
    """The part of a dataset's card that a page shows."""

    title: str
    joints: int
    persons: int
    classes: tuple[str, ...]
    source: str = ""
    licence: str = ""
    terms: str = ""
    citation: str = ""
    notes: tuple[str, ...] = ()
    splits: tuple[SplitFacts, ...] = ()


class Facts(Model):
    """Cards of the plugins and datasets of a board's records; one that the registry does not know is left out."""

    plugins: dict[str, PluginCard] = Field({})
    datasets: dict[str, DatasetFacts] = Field({})

    def only(self, cells: Iterable[CellKey]) -> Facts:
        """The facts of these cells alone."""
        names = {(cell.plugin, base_name(cell.dataset)) for cell in cells}
        return Facts(plugins={name: card for name, card in self.plugins.items() if name in {p for p, _ in names}},
                     datasets={name: card for name, card in self.datasets.items() if name in {d for _, d in names}})


def gather_facts(cells: Sequence[CellKey], catalogue: Catalogue,
                 cards: Mapping[str, PluginCard] | None = None) -> Facts:
    """Collect the cards that a board's pages show.

    Args:
        cells: Of a board.
        catalogue: The registry.
        cards: Of plugins; None takes those of the registry.
    """
    plugins, datasets = {}, {}
    for name in sorted({cell.plugin for cell in cells}):
        card = cards.get(name) if cards is not None else _plugin(name, catalogue)
        if card is not None:
            plugins[name] = card
    for name in sorted({base_name(cell.dataset) for cell in cells}):
        try:
            datasets[name] = _dataset(catalogue.load("datasets", name))
        except SkelError:
            continue
    return Facts(plugins=plugins, datasets=datasets)


def base_name(dataset: str) -> str:
    """Name of a dataset without the suffix of a variant."""
    return dataset.partition("+")[0]


def _plugin(name: str, catalogue: Catalogue) -> PluginCard | None:
    try:
        return catalogue.get("plugins", name).card
    except SkelError:
        return None


def _dataset(card: DatasetCard) -> DatasetFacts:
    return DatasetFacts(
        title=card.title, joints=card.get_layout().num_joints, persons=card.persons, classes=card.classes,
        source=card.source, licence=card.licence, terms=card.terms, citation=card.citation, notes=card.notes,
        splits=tuple(_split(split) for split in card.splits.values()))


def _split(split: Split) -> SplitFacts:
    return SplitFacts(name=split.name, description=split.description, expected=split.expected,
                      known_leak=split.known_leak, clean_twin=split.clean_twin, published=split.published)
