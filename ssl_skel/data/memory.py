"""A store that lives in memory: for generated datasets, with the digest that it would have on disk."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel import __version__
from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip, check_clip
from ssl_skel.data.store import SCHEMA, Store, content_digest
from ssl_skel.data.store_write import Packer
from ssl_skel.firewall import OPENED


def memory_store(card: DatasetCard, clips: Iterable[RawClip], generator: str) -> Store:
    """Collect clips into a store without a folder.

    Args:
        card: Of the dataset.
        clips: In any order.
        generator: Name and version of what made them.

    Raises:
        BadData: If a clip can't be stored.
    """
    sys.audit(OPENED, card.name)
    layout, packer = card.get_layout(), Packer()
    for clip in sorted(clips, key=lambda clip: clip.name):
        check_clip(clip, layout)
        packer.add(clip)
    arrays = packer.arrays(layout.num_joints)
    meta: dict[str, Any] = {
        "schema": SCHEMA, "dataset": card.name, "layout": card.layout, "persons": card.persons,
        "origin": "generated", "raw": {"path": generator}, "created_by": f"ssl-skel {__version__}",
        "counts": {"clips": len(packer), "rows": packer.rows,
                   "frames": int(arrays["index"]["frames"].sum(dtype=np.int64))},
        "report": {"files": 0, "kept": len(packer), "dropped": {}, "unreadable": 0},
        "files": {f"{name}.npy": _described(array) for name, array in arrays.items()},
    }
    meta["digest"] = content_digest(meta)
    for array in arrays.values():
        array.flags.writeable = False
    return Store(Path(f"({generator})"), meta, layout, **arrays)


def _described(array: NDArray[Any]) -> dict[str, object]:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
