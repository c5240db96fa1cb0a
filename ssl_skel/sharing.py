"""Cuts the views of a batch into equal shares of clips: for processes that train together, and for micro-batches.

Views are drawn for the whole batch and cut afterwards, so no draw depends on how many processes or micro-batches
there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ssl_skel.data.layouts import Layout

__all__ = ["draws_by_process", "share"]

_RATES = ("p", "drop_prob", "dropout")


def share(views: Any, size: int, part: int, parts: int) -> Any:
    """Take a share of whatever a task's `views` gave.

    Args:
        views: Tensors in tuples, lists, mappings and dataclasses, nested at will. A tensor whose first dimension is
            `size` holds one row a clip and is cut; everything else is left whole.
        size: B, clips of the batch; a multiple of `parts`.
        part: Which share, from 0.
        parts: Number of shares.

    Returns:
        The same structure with rows ``[part * B / parts, (part + 1) * B / parts)``.
    """
    if parts == 1 or isinstance(views, Layout):
        return views
    if isinstance(views, Tensor):
        rows = size // parts
        return views.narrow(0, part * rows, rows) if views.ndim and len(views) == size else views
    if isinstance(views, Mapping):
        return {key: share(item, size, part, parts) for key, item in views.items()}
    if isinstance(views, tuple) and hasattr(views, "_fields"):
        return type(views)(*(share(item, size, part, parts) for item in views))
    if isinstance(views, list | tuple):
        return type(views)(share(item, size, part, parts) for item in views)
    if dataclasses.is_dataclass(views) and not isinstance(views, type):
        fields = {field.name: share(getattr(views, field.name), size, part, parts)
                  for field in dataclasses.fields(views) if field.init}
        return dataclasses.replace(views, **fields)
    return views


def draws_by_process(task: nn.Module) -> bool:
    """Whether a task draws inside its networks (dropout, stochastic depth), where each process makes its own draws.

    Everything else that is drawn is drawn for the whole batch, alike in every process.
    """
    rates = (getattr(module, name, 0) for module in task.modules() for name in _RATES)
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
