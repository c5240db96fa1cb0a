"""Finding pretrainings in a run's output folder, by id or by what they are."""

from __future__ import annotations

from pathlib import Path

from ssl_skel.bench.cards import FILE, PretrainingCard, read_card
from ssl_skel.errors import DataMissing, UsageMistake


def pretraining_folders(run: Path) -> list[Path]:
    """Folders of all pretrainings of a run, finished or not.

    Raises:
        DataMissing: If there is none.
    """
    try:
        found = sorted(path for path in (run / "pretrain").iterdir() if path.is_dir())
    except OSError:
        found = []
    if not found:
        raise DataMissing(f"{run} holds no pretraining", "Give the output folder of `ssl-skel bench run` with --run.")
    return found


def find_pretrainings(run: Path, wanted: str = "") -> list[PretrainingCard]:
    """Find finished pretrainings.

    Args:
        run: Output folder.
        wanted: The beginning of an id, a plugin's name or ``plugin:backbone``; "" for all.

    Raises:
        DataMissing: If the run holds none that is finished.
        UsageMistake: If none is meant.
        BadRecord: If a card is torn or edited.
    """
    cards = [read_card(folder) for folder in pretraining_folders(run) if (folder / FILE).is_file()]
    if not cards:
        raise DataMissing(f"{run} holds no finished pretraining", "Run the same `ssl-skel bench run` again.")
    found = [card for card in cards if not wanted or _is_meant(card, wanted)]
    if not found:
        raise UsageMistake(f"{run} holds no pretraining {wanted!r}", f"It holds {_listed(cards)}.")
    return found


def choose_pretraining(run: Path, wanted: str = "") -> PretrainingCard:
    """Find the one pretraining that is meant.

    Raises:
        UsageMistake: If none or several are meant; lists them with their ids.
        DataMissing: If the run holds none that is finished.
    """
    found = find_pretrainings(run, wanted)
    if len(found) > 1:
        raise UsageMistake(f"{len(found)} pretrainings of {run} are meant", f"Choose one by its id: {_listed(found)}.")
    return found[0]


def _is_meant(card: PretrainingCard, wanted: str) -> bool:
    cell = card.cell
    return card.id.startswith(wanted) or wanted in (cell.plugin, f"{cell.plugin}:{cell.backbone}", cell.label)


def _listed(cards: list[PretrainingCard]) -> str:
    listed = "; ".join(f"{card.id} {card.cell.title}" for card in cards[:12])
    return listed + (f"; and {len(cards) - 12} more" if len(cards) > 12 else "")
