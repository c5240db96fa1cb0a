import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.evaluators import search
from ssl_skel.evaluators.search import nearest


def brute(memory, query, k):
    order = torch.sort((memory[None] * query[:, None]).sum(2), dim=1, descending=True, stable=True)
    return order.values[:, :k], order.indices[:, :k]


def unit(n, d, seed, decay=0.0):
    gen = torch.Generator().manual_seed(seed)
    axes = torch.arange(1, d + 1) ** -decay
    return torch.nn.functional.normalize(torch.randn(n, d, generator=gen) * axes + 0.2 * axes, dim=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 70), st.integers(1, 7), st.sampled_from([0.0, 1.0, 2.0]),
       st.booleans())
def test_equals_brute_force(seed, n, k, decay, duplicates):
    """Features of any spectrum; with duplicates, most similarities are ties."""
    memory, query = unit(n, 16, seed, decay), unit(9, 16, seed + 1, decay)
    if duplicates:
        memory = memory[torch.randint(max(1, n // 4), (n,), generator=torch.Generator().manual_seed(seed))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "WORTHWHILE", 8)
        patch.setattr(search, "PAYS", 0)
        value, index = nearest(memory, query, min(k, n))
    want_value, want_index = brute(memory, query, min(k, n))
    assert torch.equal(value, want_value)
    assert torch.equal(index, want_index)


@pytest.mark.parametrize(("decay", "stages"), [(2.0, 1), (0.0, 3)])
def test_correlated_features_are_done_by_the_first_stage(decay, stages, monkeypatch):
    """Uncorrelated ones are not, and are right all the same."""
    used, inner = [], search._best
    monkeypatch.setattr(search, "PAYS", 0)
    monkeypatch.setattr(search, "_best", lambda *args: used.append(args[4]) or inner(*args))
    memory, query = unit(600, 256, 3, decay), unit(20, 256, 4, decay)
    index = nearest(memory, query, 5)[1]
    assert torch.equal(index, brute(memory, query, 5)[1])
    assert len(used) == stages


def test_few_pairs_are_not_worth_the_search_for_axes(monkeypatch):
    monkeypatch.setattr(search, "_shortened", lambda *args: pytest.fail("shortened"))
    memory, query = unit(600, 256, 3, 2.0), unit(20, 256, 4, 2.0)
    assert torch.equal(nearest(memory, query, 5)[1], brute(memory, query, 5)[1])


def test_blocks_do_not_matter(monkeypatch):
    monkeypatch.setattr(search, "PAYS", 0)
    memory, query = unit(300, 256, 5, 1.5), unit(11, 256, 6, 1.5)
    whole = nearest(memory, query, 4)
    monkeypatch.setattr(search, "BLOCK_ELEMENTS", 900)
    monkeypatch.setattr(search, "TRIAL", 2)
    monkeypatch.setattr(search, "CHUNK_ELEMENTS", 2000)
    assert all(torch.equal(a, b) for a, b in zip(whole, nearest(memory, query, 4), strict=True))
