"""Exact nearest neighbours by cosine, most of whose products are never computed.

Features of a trained encoder lie close to few axes. With a = (a', r), a' on the leading axes and |r| the length
of the rest, Cauchy and Schwarz give <a, b> <= <a', b'> + |r_a| |r_b|, one product of short vectors. The clips
with the largest bounds are compared in full; where the k-th of them beats the bound of all others the row is
done, else it goes on to a tighter bound and more candidates, in the end to the full product; where a stage
settles less than half of a block, all that is left goes on. The result is that of brute force for any features;
only the time depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

MARGIN = 1e-5
"""More than a float32 product of unit vectors errs by."""
SLACK = 1e-6
"""Added to the square of a rest's length, which is a difference of near equals."""
WORTHWHILE = 256
"""Features of at least so many dimensions are shortened, to an eighth and then to a quarter."""
PAYS = 30
"""How many times D^2 the pairs of clips must be for it: the axes cost some 10 D^3, the products of all pairs m n D."""
TRIAL = 256
"""Rows on which a stage is tried before it gets whole blocks."""
SAMPLE = 8192
BLOCK_ELEMENTS = 1 << 26
CHUNK_ELEMENTS = 1 << 20
"""Candidates are compared in pieces that stay in a core's cache, eight times as fast as in one."""

Bound = Callable[[Tensor], Tensor]


def nearest(memory: Tensor, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k most similar memory clips of each query.

    Equal similarities are computed equal wherever they stand, and count in the order of the memory.

    Args:
        memory: (n, D) unit vectors.
        query: (m, D) unit vectors.
        k: At most n.

    Returns:
        Similarities and positions in the memory, (m, k) each, by falling similarity.
    """
    n = len(memory)
    value = query.new_empty(len(query), k)
    index = torch.empty(len(query), k, dtype=torch.int64, device=query.device)
    todo = torch.arange(len(query), device=query.device)
    for bound, count in _stages(memory, len(query), k):
        left = []
        blocks = [todo[:TRIAL], *torch.split(todo[TRIAL:], max(1, BLOCK_ELEMENTS // n))]
        while blocks and len(blocks[0]):
            rows = blocks.pop(0)
            value[rows], index[rows], sure = _best(memory, query[rows], bound(query[rows]), k, count)
            left.append(rows[~sure])
            if 2 * len(left[-1]) > len(rows):
                break
        todo = torch.cat([*left, *blocks])
        if len(todo) == 0:
            break
    return value, index


def _stages(memory: Tensor, queries: int, k: int) -> Iterator[tuple[Bound, int]]:
    """Yield bounds on the similarity, and how many candidates to compare by each; the last stage is brute force."""
    n, dim = memory.shape
    if dim >= WORTHWHILE and n > 15 * k and queries * n > PAYS * dim * dim:
        sample = memory[:: -(-n // SAMPLE)].double()
        axes = torch.linalg.eigh(sample.T @ sample).eigenvectors.to(memory.dtype).flip(1)
        yield _shortened(memory, axes[:, : len(axes) // 8]), 3 * k
        yield _shortened(memory, axes[:, : len(axes) // 4]), 5 * k
    yield lambda query: query @ memory.T, min(3 * k, n)
    yield lambda query: query @ memory.T, n


def _shortened(memory: Tensor, axes: Tensor) -> Bound:
    """Bound by (D, R) orthonormal axes and the length of the rest."""
    def shorten(features: Tensor) -> Tensor:
        short = features @ axes
        rest = (1 - short.square().sum(dim=1, keepdim=True)).clamp_min(0) + SLACK
        return torch.cat([short, rest.sqrt()], dim=1)

    known = shorten(memory)
    return lambda query: shorten(query) @ known.T


def _best(memory: Tensor, query: Tensor, bound: Tensor, k: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compare each query with its `count` candidates of largest bound.

    Returns:
        Similarities and positions of the best k, and (rows,) bool, whether no other clip can be among them.
    """
    n = len(memory)
    value, index = bound.topk(min(count + 1, n), dim=1)
    candidates = index[:, :count].sort(dim=1).values
    rows = max(1, CHUNK_ELEMENTS // (count * memory.shape[1]))
    similarity = torch.cat([(memory[mine] * one[:, None]).sum(dim=2) for mine, one in
                            zip(torch.split(candidates, rows), torch.split(query, rows), strict=True)])
    order = torch.sort(similarity, dim=1, descending=True, stable=True)
    best = order.values[:, :k]
    sure = best[:, -1] > value[:, -1] + MARGIN if count < n else torch.ones_like(best[:, -1], dtype=torch.bool)
    return best, candidates.gather(1, order.indices[:, :k]), sure
