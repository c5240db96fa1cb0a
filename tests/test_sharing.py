"""Shares of views: together they are the whole, whatever the views are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ssl_skel.data.layouts import get_layout
from ssl_skel.nn.dropout import Dropout
from ssl_skel.sharing import draws_by_process, share

BATCH = 12


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Held:
    xyz: Any
    rest: Any


TENSORS = st.builds(lambda rows, width: torch.arange(rows * width).view(rows, width), st.sampled_from([BATCH, 5, 1]),
                    st.integers(1, 3))
LEAVES = st.one_of(TENSORS, st.integers(), st.none(), st.just(torch.tensor(3.0)), st.just(get_layout("nite_15", 1)))
VIEWS = st.recursive(LEAVES, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    st.builds(Pair, inner, inner), st.builds(Held, inner, inner)), max_leaves=6)


def joined(parts: list[Any]) -> Any:
    """Put shares together again."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.ndim and len(first) * len(parts) == BATCH else first
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts]) for key in first}
    if isinstance(first, Held):
        return Held(joined([part.xyz for part in parts]), joined([part.rest for part in parts]))
    if isinstance(first, Pair):
        return Pair(*map(joined, map(list, zip(*parts, strict=True))))
    if isinstance(first, list | tuple):
        return type(first)(joined([part[i] for part in parts]) for i in range(len(first)))
    return first


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Held):
        return equal(one.xyz, other.xyz) and equal(one.rest, other.rest)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@given(VIEWS, st.sampled_from([1, 2, 3, 4]))
def test_shares_together_are_the_whole(views: Any, parts: int) -> None:
    assert equal(joined([share(views, BATCH, part, parts) for part in range(parts)]), views)


def test_rows_are_dealt_in_order_and_the_rest_is_left_whole() -> None:
    views = Held({"clips": torch.arange(BATCH)}, (torch.arange(5), torch.tensor(1), get_layout("nite_15", 1)))
    part = share(views, BATCH, 1, 3)
    assert part.xyz["clips"].tolist() == [4, 5, 6, 7]
    assert part.rest[0].tolist() == [0, 1, 2, 3, 4]
    assert part.rest[2] is views.rest[2]


@pytest.mark.parametrize(("module", "draws"), [
    (nn.Sequential(nn.Linear(2, 2), Dropout(0.5)), True), (nn.Sequential(Dropout(0.0), nn.BatchNorm1d(2)), False),
    (nn.Dropout(0.1), True), (nn.GRU(2, 2, num_layers=2, dropout=0.2), True), (nn.GRU(2, 2), False)])
def test_dropout_is_a_draw_of_each_process(module: nn.Module, draws: bool) -> None:
    assert draws_by_process(module) == draws
