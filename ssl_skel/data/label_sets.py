"""Which clips are labelled in semi-supervised evaluation: the rule that draws them, and files that hold the draws.

A file holds, for one training part, the names of the labelled clips of 1, 5, 10, 20 and 40 % in five draws, with a
SHA-256 of each. Those of the datasets at hand are shipped in ``ssl_skel/data/labels``; `ssl-skel data labels` writes
those of any other into ``labels`` of the data folder. ``SHA256SUMS`` beside them is in the format of ``sha256sum``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ssl_skel.data.open import SplitView
from ssl_skel.errors import BadCard, BadData, DigestMismatch
from ssl_skel.fsio import make_folder, read_bounded, write_atomic
from ssl_skel.jsonio import parse_json
from ssl_skel.schema import DatasetName, Model, Name
from ssl_skel.yamlio import validate

PERCENTS = (1, 5, 10, 20, 40)
DRAWS = 5
SHIPPED = Path(__file__).parent / "labels"
SUMS = "SHA256SUMS"
_MAX_BYTES = 100_000_000
_AGAIN = "Write it again with `ssl-skel data labels`."


class LabelSets(Model):
    """The labelled clips of one training part.

    Attributes:
        dataset: Name, with the suffix of a variant.
        split: Of which this is the training part.
        train_sha256: Digest of the names of all its training clips; says for which data the file is.
        sets: Percent -> draw -> names of the labelled clips, sorted.
        sets_sha256: Percent -> draw -> `names_sha256` of them.
        file_sha256: Of the file that was read; not in the file.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    dataset: DatasetName
    split: Name
    train_sha256: str
    sets: dict[str, tuple[tuple[str, ...], ...]]
    sets_sha256: dict[str, tuple[str, ...]]
    file_sha256: str = Field("", exclude=True)

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.dataset}-{self.split}.json"

    def index(self, names: Sequence[str], percent: float, number: int) -> Tensor | None:
        """Positions of the labelled clips among the training clips; None where the file has no such draw.

        Args:
            names: Of the training clips.
            percent: p.
            number: Of the draw.
        """
        draws = self.sets.get(f"{percent:g}", ())
        if number >= len(draws):
            return None
        place = {name: position for position, name in enumerate(names)}
        return torch.tensor(sorted(place[name] for name in draws[number]))


def labelled(names: Sequence[str], labels: Tensor, percent: float, number: int) -> Tensor:
    """Draw labelled clips: p % of each class, rounded half up, at least one.

    Clips of a class are ordered by SHA-256 of ``number:name`` and the first ones taken, so a draw can be made
    again from the names, and a larger p holds the clips of a smaller one.

    Args:
        names: n clip names.
        labels: (n,) int64.
        percent: p.
        number: Of the draw.

    Returns:
        (k,) int64 positions, rising.
    """
    keys = [hashlib.sha256(f"{number}:{name}".encode()).digest() for name in names]
    taken: list[int] = []
    for label in torch.unique(labels).tolist():
        members = sorted((labels == label).nonzero().flatten().tolist(), key=keys.__getitem__)
        taken += members[:max(1, int(percent / 100 * len(members) + 0.5))]
    return torch.tensor(sorted(taken))


def names_sha256(names: Sequence[str]) -> str:
    """SHA-256 of sorted names, one a line; what a published list of labelled clips is checked against."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def draw_sets(view: SplitView) -> LabelSets:
    """Draw the labelled clips of a split's training part, all percentages and draws."""
    names, labels = view.train.names, view.train.labels
    sets = {str(percent): tuple(tuple(sorted(names[i] for i in labelled(names, labels, percent, number).tolist()))
                                for number in range(DRAWS)) for percent in PERCENTS}
    digests = {percent: tuple(names_sha256(chosen) for chosen in draws) for percent, draws in sets.items()}
    return LabelSets(dataset=view.name, split=view.split.name, train_sha256=view.train_digest, sets=sets,
                     sets_sha256=digests)


def write_sets(sets: LabelSets, folder: Path) -> Path:
    """Write a file of label sets, and its digest to ``SHA256SUMS`` beside it.

    Raises:
        OutputError: If the folder can't be written.
    """
    path = make_folder(folder.parent, folder.name) / sets.file
    text = json.dumps(sets.model_dump(mode="json", by_alias=True), indent=1) + "\n"
    write_atomic(path, text)
    sums = {**_sums(folder), path.name: hashlib.sha256(text.encode()).hexdigest()}
    write_atomic(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    return path


def find_sets(dataset: str, train_digest: str, folders: Sequence[Path]) -> LabelSets | None:
    """Find the label sets of a training part.

    Args:
        dataset: Name of the dataset.
        train_digest: `SplitView.train_digest`; splits with the same training part share a file.
        folders: Looked through in this order.

    Raises:
        DigestMismatch: If a file of the dataset is not the one in ``SHA256SUMS``, or a set not what its digest says.
        BadData: If it can't be read.
    """
    for folder in folders:
        for name, digest in sorted(_sums(folder).items()):
            if name.startswith(f"{dataset}-"):
                found = read_sets(folder / name, digest)
                if (found.dataset, found.train_sha256) == (dataset, train_digest):
                    return found
    return None


def read_sets(path: Path, digest: str) -> LabelSets:
    """Read a file of label sets and check it against its digest, and its sets against theirs.

    Raises:
        DigestMismatch: If something does not agree.
        BadData: If it can't be read.
    """
    try:
        data = read_bounded(path, _MAX_BYTES)
        raw = parse_json(data)
        if hashlib.sha256(data).hexdigest() != digest:
            raise DigestMismatch(f"{path} is not the file that {SUMS} beside it names", _AGAIN)
        found = validate(LabelSets, raw, str(path))
    except (OSError, ValueError, BadCard) as error:
        raise BadData(f"can't read the label sets {path}: {error}", _AGAIN) from None
    real = {percent: tuple(map(names_sha256, draws)) for percent, draws in found.sets.items()}
    if real != found.sets_sha256:
        raise DigestMismatch(f"{path} holds other clips than its digests say", _AGAIN)
    return found.model_copy(update={"file_sha256": digest})


def _sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, as ``SHA256SUMS`` says; empty where there is none."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"can't read {folder / SUMS}: {error}", _AGAIN) from None
    pairs = [line.split("  ", 1) for line in lines if line.strip()]
    if any(len(pair) != 2 or Path(pair[1]).name != pair[1] for pair in pairs):
        raise BadData(f"{folder / SUMS} is no list of digests and file names", _AGAIN)
    return {name: digest for digest, name in pairs}
