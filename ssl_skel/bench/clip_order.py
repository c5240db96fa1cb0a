"""The order in which an evaluator sees the test clips: that of a store tells the classes, as it is sorted by name."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
from torch import Tensor

from ssl_skel.api import Batch, ClipSource, EvalContext, EvalResult, Evaluator
from ssl_skel.bench.guarded import blind_names
from ssl_skel.seed import shuffled

__all__ = ["ReorderedClips", "in_store_order", "seen_order", "with_order"]


def seen_order(evaluator: Evaluator, count: int) -> Tensor:
    """Positions in the store's order of the clips that an evaluator sees one after the other.

    The suite's own evaluators see the store's order: they do not look at it, and what they draw (noise, first centres
    of clusters) follows it in every record.

    Args:
        evaluator: Whoever looks.
        count: Test clips.

    Returns:
        (count,) int64.
    """
    return torch.arange(count) if _is_own(type(evaluator)) else shuffled(count, "test")


def _is_own(kind: type[Evaluator]) -> bool:
    module = sys.modules.get(kind.__module__)
    return kind.__module__.startswith("ssl_skel.evaluators.") and getattr(module, kind.__name__, None) is kind


def with_order(context: EvalContext, order: Tensor) -> EvalContext:
    """Bring the test clips of a context, which stand as in the store, into another order; names say nothing."""
    test, clips = context.test, context.test_clips
    features = replace(test, streams={name: values[order] for name, values in test.streams.items()},
                       subjects=test.subjects[order], names=blind_names(len(order)), labels=None)
    return replace(context, test=features, test_clips=clips and ReorderedClips(clips, order))


def in_store_order(result: EvalResult, order: Tensor) -> EvalResult:
    """Put predictions back into the store's order.

    They are copied: who made them is handed the labels next.

    Args:
        result: First dimensions n, in `order`.
        order: (n,), as from `seen_order`.
    """
    def back(values: Tensor) -> Tensor:
        found = torch.empty_like(values)
        found[order.to(values.device)] = values
        return found

    return replace(result, top=back(result.top), extra={name: back(values) for name, values in result.extra.items()})


class ReorderedClips:
    """Clips in another order.

    Args:
        clips: To be shown.
        order: (n,) their positions.
    """

    def __init__(self, clips: ClipSource, order: Tensor) -> None:
        self._clips, self._order, self.layout = clips, order, clips.layout

    def __len__(self) -> int:
        return len(self._order)

    def batch(self, index: Tensor) -> Batch:
        """The clips `index` (B,) as in evaluation."""
        found = self._clips.batch(self._order[index.cpu()])
        return Batch(found.xyz, found.valid, index, found.layout)

    def prefetch(self, index: Tensor) -> None:
        """Say that these clips (B,) are asked for soon."""
        self._clips.prefetch(self._order[index.cpu()])
