"""Clips of M persons as rows of one person, without those who are absent."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["People", "split_persons"]


@dataclass(frozen=True, slots=True)
class People:
    """Persons as rows.

    Attributes:
        xyz: (N, T, V, 3), zero where invalid.
        valid: (N, T, V) bool, or None where every point is valid (found on the CPU only).
        rows: (N,) int64 position of each row among the B * M, or None where none was left out.
        present: (B, M) bool, whether a person has a valid point.
    """

    xyz: Tensor
    valid: Tensor | None
    rows: Tensor | None
    present: Tensor

    @property
    def mask(self) -> Tensor | None:
        """(N, 1, T, V) bool for channels-first tensors, or None."""
        return None if self.valid is None else self.valid[:, None]

    def spread(self, x: Tensor) -> Tensor:
        """Put (N, ...) rows back to (B, M, ...), zero for persons left out."""
        batch, persons = self.present.shape
        if self.rows is not None:
            x = x.new_zeros(batch * persons, *x.shape[1:]).index_copy(0, self.rows, x)
        return x.view(batch, persons, *x.shape[1:])

    def mean(self, x: Tensor) -> Tensor:
        """Average (N, D) rows over the present persons of each clip to (B, D); zero where there is none."""
        weight = self.present.to(x.dtype)
        total = (self.spread(x) * weight[..., None]).sum(1)
        return total / weight.sum(1, keepdim=True).clamp(min=1)


def split_persons(xyz: Tensor, valid: Tensor) -> People:
    """Make each person a row and leave out those without a valid point.

    How many there are decides a shape, so clips of more than one person cost one wait for the device. On a
    CPU, where looking is free, a batch without an invalid point also loses its mask.

    Args:
        xyz: (B, M, T, V, 3); content at invalid points is ignored, whatever it is.
        valid: (B, M, T, V) bool.
    """
    present = valid.flatten(2).any(2)
    points = xyz.masked_fill(~valid[..., None], 0).flatten(0, 1)
    marks = valid.flatten(0, 1)
    rows = None
    if valid.shape[1] > 1:
        found = present.flatten().nonzero()[:, 0]
        if 0 < len(found) < len(points):
            rows = found
            points, marks = points.index_select(0, rows), marks.index_select(0, rows)
    whole = marks.device.type == "cpu" and bool(marks.all())
    return People(points, None if whole else marks, rows, present)
