"""Named seeds: reproducible, unrelated, and blind to the global state."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_skel.seed import derive, generator

names = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5) | st.integers(0, 99), max_size=3)


@given(st.integers(0, 2**40), names)
def test_a_seed_is_a_function_of_seed_and_names(seed: int, parts: list[str | int]) -> None:
    value = derive(seed, *parts)
    assert value == derive(seed, *parts)
    assert 0 <= value < 2**63


@given(st.integers(0, 99), names, st.integers(0, 99), names)
def test_other_names_give_other_seeds(seed: int, parts: list[str | int], other: int, others: list[str | int]) -> None:
    same = [str(seed), *map(str, parts)] == [str(other), *map(str, others)]
    assert (derive(seed, *parts) == derive(other, *others)) == same


def test_the_value_is_pinned() -> None:
    """Any change here changes every number of the benchmark."""
    assert derive(0, "views", 7) == 9120666774290879483
    assert derive(1, "init") == 1664463646515754594


def test_generators_leave_the_global_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, two = generator(0, "order", 1), generator(0, "order", 2)
    assert not torch.equal(torch.randperm(50, generator=one), torch.randperm(50, generator=two))
    assert torch.equal(torch.random.get_rng_state(), before)
