"""Curves for TensorBoard: ``tensorboard --logdir runs/loggers/tensorboard``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_skel.errors import UsageMistake

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    raise UsageMistake("the logger tensorboard needs the package of that name",
                       "pip install 'ssl-skel[tensorboard]'") from None


class TensorBoardLogger:
    """Writes an event file; every value is a scalar of its own name.

    Args:
        folder: Of this pretraining.
        about: Shown as text.
        step: Points of later steps, written before a crash, are purged.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        if not step:
            self._writer.add_text("about", f"```json\n{json.dumps(about, indent=1)}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each scalar."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is pending and close the file."""
        self._writer.close()
