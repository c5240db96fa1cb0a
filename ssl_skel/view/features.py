"""Frozen features of a pretraining in two dimensions, and how well they separate classes, subjects and views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.cards import PretrainingCard
from ssl_skel.errors import UnknownName, UsageMistake
from ssl_skel.view import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Method = Literal["tsne", "pca"]
Colour = Literal["class", "subject", "view"]
Floats = NDArray[np.float64]
LEGEND_ROWS = 30


@dataclass(frozen=True)
class Embedded:
    """Features of one part of a split.

    Attributes:
        title: Of the pretraining.
        streams: Encoders whose features stand side by side.
        part: ``train`` or ``test``.
        features: (n, D) standardised.
        groups: ``class``, ``subject``, ``view`` -> (n,) int64.
        class_names: By label.
    """

    title: str
    streams: tuple[str, ...]
    part: str
    features: Floats
    groups: dict[str, NDArray[np.int64]]
    class_names: tuple[str, ...]


def load_features(run: Path, card: PretrainingCard, data_root: Path, *, split: str = "", part: str = "test",
                  streams: tuple[str, ...] = (), limit: int = 2000, plugin_paths: tuple[str, ...] = ()) -> Embedded:
    """Encode clips with the frozen encoders of a pretraining.

    Args:
        run: Output folder.
        card: Of the pretraining.
        data_root: Folder of the prepared datasets.
        split: Default: that of the pretraining.
        part: ``train`` or ``test``.
        streams: Encoders; default: all.
        limit: At most so many clips, evenly chosen.
        plugin_paths: Of ``--plugins``.

    Raises:
        UnknownName: If there is no such encoder or split.
        DataMissing: If dataset or weights are absent.
        DigestMismatch: If the weights are not those of the card.
    """
    import torch

    from ssl_skel.bench.cell import build_task
    from ssl_skel.bench.encoders import load_encoders
    from ssl_skel.bench.features import encode
    from ssl_skel.data.open import open_split
    from ssl_skel.registry import discover

    cell, catalogue = card.cell, discover(plugin_paths)
    names = tuple(dict.fromkeys(name for group in cell.stream_sets for name in group))
    for name in streams:
        if name not in names:
            raise UnknownName("encoder", name, names)
    opened = open_split(cell.dataset, split or cell.split, data_root, preprocessing=cell.preprocessing.name,
                        frames=cell.train.frames, incomplete=True,
                        card=catalogue.load("datasets", cell.dataset.partition("+")[0]))
    whole = opened.test if part == "test" else opened.train
    chosen = np.unique(np.linspace(0, len(whole) - 1, min(limit, len(whole))).round().astype(np.int64))
    clips = whole.at(whole.positions[chosen])
    task = build_task(catalogue, cell, opened.layout)
    encoders = load_encoders(run / "pretrain" / card.id, task, card.encoders_sha256, torch.device("cpu"))
    encoded = encode({name: encoders[name] for name in streams or names}, clips.clips)
    features = standardised(torch.cat(list(encoded.values()), 1).double().numpy())
    groups = {"class": clips.labels.numpy(), "subject": clips.subjects.numpy(), "view": clips.views.numpy()}
    return Embedded(f"{cell.title}, tested on {opened.split.name}" if split else cell.title, streams or names, part,
                    features, groups, opened.dataset.card.classes)


def standardised(features: Floats) -> Floats:
    """Features of mean 0 and variance 1, column by column; a constant column becomes 0."""
    spread = features.std(axis=0)
    centred: Floats = features - features.mean(axis=0)
    return centred / np.where(spread > 1e-12, spread, 1.0)


def embed(features: Floats, method: Method, seed: int = 0) -> Floats:
    """Map features to the plane.

    Args:
        features: (n, D) standardised, n >= 3.
        method: Principal components, or t-SNE from the first 50 of them (scikit-learn, perplexity 30 or a third of
            n, whichever is less).
        seed: Of t-SNE.

    Returns:
        (n, 2).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    kept = min(50, *features.shape) if method == "tsne" else 2
    reduced: Floats = PCA(n_components=kept, random_state=seed).fit_transform(features)
    if method == "tsne":
        perplexity = min(30.0, (len(features) - 1) / 3)
        reduced = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return np.asarray(reduced[:, :2], np.float64)


def silhouettes(features: Floats, groups: dict[str, NDArray[np.int64]]) -> dict[str, float]:
    """Mean silhouette (Euclidean, scikit-learn) of the features by each grouping that has 2 groups to n - 1."""
    from sklearn.metrics import silhouette_score

    return {name: float(silhouette_score(features, group)) for name, group in groups.items()
            if 2 <= len(np.unique(group)) < len(group)}


def draw_features(found: Embedded, method: Method, colour: Colour) -> tuple[Figure, dict[str, float]]:
    """Draw features as points of the plane.

    Args:
        found: From `load_features`.
        method: How they get there.
        colour: By what they are coloured.

    Returns:
        A figure, and the silhouettes in the space of the features. Call inside `style.styled`.

    Raises:
        UsageMistake: If there are fewer than three clips.
    """
    from matplotlib.figure import Figure

    if len(found.features) < 3:
        raise UsageMistake(f"{len(found.features)} clips are too few for a picture", "Raise --limit.")
    scores = silhouettes(found.features, found.groups)
    plane = embed(found.features, method)
    values = np.unique(found.groups[colour])
    columns = -(-len(values) // LEGEND_ROWS)
    low, high = plane.min(axis=0), plane.max(axis=0)
    shape = float(np.clip((high - low)[1] / max((high - low)[0], 1e-12), 0.55, 1.0))
    width, height = 7.0 + 1.75 * columns, max(1.0 + 6.4 * shape, 1.2 + 0.2 * min(len(values), LEGEND_ROWS))
    figure = Figure(figsize=(width, height))
    name = "t-SNE" if method == "tsne" else "principal components"
    said = ", ".join(f"{key} {score:+.2f}" for key, score in scores.items())
    style.headline(figure, found.title, f"{len(plane):,} {found.part} clips, {'+'.join(found.streams)}, {name}; "
                                        f"silhouettes of the features: {said or 'not defined'}")
    axes = figure.add_axes((0.2 / width, 0.2 / height, 6.4 / width, (height - 1.0) / height))
    _scatter(axes, plane, found, colour, values)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=columns, title=colour, alignment="left",
                handletextpad=0.2, labelspacing=0.35)
    return figure, scores


def _scatter(axes: Axes, plane: Floats, found: Embedded, colour: Colour, values: NDArray[np.int64]) -> None:
    for number, value in enumerate(values.tolist()):
        mine = found.groups[colour] == value
        tint, marker = style.category(number)
        label = found.class_names[value] if colour == "class" else f"{colour} {value}"
        axes.scatter(plane[mine, 0], plane[mine, 1], s=16, c=tint, marker=marker, alpha=0.8, linewidths=0,
                     label=style.plain(style.shortened([label], 24)[0]))
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    axes.spines[:].set_color(style.FAINT)
    axes.margins(0.04)
    axes.set_aspect("equal", adjustable="datalim")
