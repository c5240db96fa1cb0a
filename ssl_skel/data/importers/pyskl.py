"""``pyskl-pkl``: ``ntu60_3danno.pkl`` and its like, as PYSKL and MMAction2 exchange them.

``{"split": {"xsub_train": [names], ...}, "annotations": [{"frame_dir": name, "label": from 0,
"total_frames": T, "keypoint": (M, T, 25, 3)}, ...]}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.importers.base import Importer, index_of_names, make_clip
from ssl_skel.data.importers.safe_pickle import as_array, load
from ssl_skel.errors import BadData


class PysklPickle(Importer):
    """Reads one file."""

    def clips(self, card: DatasetCard, files: list[Path]) -> Iterator[RawClip]:
        """Read the annotations in file order."""
        if len(files) != 1:
            raise BadData(f"{len(files)} files given; format pyskl-pkl takes one")
        content = load(files[0])
        annotations = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(annotations, list):
            raise BadData(f"{files[0].name}: no list of annotations in it")
        check_splits(card, content.get("split", {}), files[0].name)
        for position, annotation in enumerate(annotations):
            yield _read(card, annotation, f"{files[0].name}: annotation {position}")
            annotations[position] = None


def check_splits(card: DatasetCard, lists: Any, where: str) -> None:
    """Check that the file's training and test lists are those of the splits of the same name.

    Args:
        card: Of the dataset.
        lists: ``{"xsub_train": [names], "xsub_val": [names], ...}``.
        where: For messages.

    Raises:
        BadData: If a clip stands in the wrong part.
    """
    if not isinstance(lists, dict):
        raise BadData(f"{where}: split is not a dict")
    for key, names in lists.items():
        split, _, part = str(key).rpartition("_")
        if split not in card.splits or part not in ("train", "val", "test"):
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadData(f"{where}: {key} is not a list of names")
        train, test = card.splits[split].select(index_of_names(card, names))
        wrong = ~(train if part == "train" else test)
        if wrong.any():
            raise BadData(f"{where}: {names[int(wrong.argmax())]} stands in {key}, which by the rule of the split "
                          "it is not in")


def _read(card: DatasetCard, annotation: Any, where: str) -> RawClip:
    if not isinstance(annotation, dict) or not {"frame_dir", "label", "keypoint"} <= annotation.keys():
        raise BadData(f"{where} has not frame_dir, label and keypoint")
    name, label = annotation["frame_dir"], annotation["label"]
    if not isinstance(name, str) or not isinstance(label, int):
        raise BadData(f"{where}: frame_dir {name!r} or label {label!r} is not what it should be")
    xyz = as_array(annotation["keypoint"], f"{where} ({name})")
    if xyz.ndim != 4 or xyz.shape[2:] != (25, 3):
        raise BadData(f"{where} ({name}): keypoint of shape {xyz.shape}, expected (M, T, 25, 3)")
    if annotation.get("total_frames", xyz.shape[1]) != xyz.shape[1]:
        raise BadData(f"{where} ({name}): total_frames {annotation['total_frames']}, but {xyz.shape[1]} frames")
    return make_clip(card, name, label, xyz)
