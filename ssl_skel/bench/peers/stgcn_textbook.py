"""ST-GCN and the two-view methods on it as published code writes them, for `bench speed moco` and `byol`.

The forms are those of the public ST-GCN, CrosSCLR (SkeletonCLR) and CMCS (SkeletonBYOL) repositories: a 1 x 1
convolution to K C' channels before the product with the graph, absent persons as clips of zeros that are
computed, momentum updates parameter by parameter. Written anew here; no mask, since that code knows none.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.nn.stgcn import STGCN, Block

__all__ = ["TextbookBYOL", "TextbookMoCo", "TextbookSTGCN"]


def _norm(ours: nn.Module, kind: type[nn.Module]) -> nn.Module:
    norm = kind(len(ours.running_mean))  # type: ignore[arg-type]
    norm.load_state_dict(ours.state_dict())
    return norm


class TextbookBlock(nn.Module):
    """Graph convolution, normalisation, temporal convolution, normalisation, dropout, residual.

    Args:
        ours: The suite's block, whose weights are copied.
        dropout: Probability.
    """

    def __init__(self, ours: Block, dropout: float) -> None:
        super().__init__()
        out, wide = ours.spatial.weight.shape[:2]
        channels, temporal, self.stride = wide // 3, ours.temporal, ours.stride
        self.importance = nn.Parameter(ours.importance.detach().clone())
        self.spatial = nn.Conv2d(channels, 3 * out, 1)
        with torch.no_grad():
            weight = ours.spatial.weight.view(out, 3, channels).transpose(0, 1).reshape(3 * out, channels, 1, 1)
            self.spatial.weight.copy_(weight)
            self.spatial.bias.copy_(ours.spatial.bias.flatten())  # type: ignore[union-attr]
        self.temporal = nn.Sequential(
            _norm(temporal.norm_in, nn.BatchNorm2d), nn.ReLU(inplace=True), copy.deepcopy(temporal.conv),
            _norm(temporal.norm_out, nn.BatchNorm2d), nn.Dropout(dropout, inplace=True))
        self.residual, self.skip = ours.residual, None
        if ours.skip is not None:
            self.skip = nn.Sequential(copy.deepcopy(ours.skip.conv), _norm(ours.skip.norm, nn.BatchNorm2d))

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """Map (N, C, T, V) to (N, C', T', V)."""
        y = self.spatial(x)
        y = y.view(len(y), 3, -1, *y.shape[2:])
        y = self.temporal(torch.einsum("nkctv,kvw->nctw", y, graph * self.importance).contiguous())
        if self.residual:
            y = y + (x if self.skip is None else self.skip(x))
        return F.relu(y)


class TextbookSTGCN(nn.Module):
    """ST-GCN on (N, 3, T, V, M) with the weights of the suite's, averaged over points and all M persons."""

    graph: Tensor

    def __init__(self, ours: STGCN, dropout: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("graph", ours.graph.clone())
        self.norm = _norm(ours.norm, nn.BatchNorm1d)
        self.blocks = nn.ModuleList(
            TextbookBlock(block, dropout if number else 0)  # type: ignore[arg-type]
            for number, block in enumerate(ours.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips to (N, D)."""
        rows, channels, frames, joints, persons = x.shape
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(rows * persons, joints * channels, frames)
        x = self.norm(x).view(rows * persons, joints, channels, frames).permute(0, 2, 3, 1).contiguous()
        for block in self.blocks:
            x = block(x, self.graph)
        return F.avg_pool2d(x, x.shape[2:]).view(rows, persons, -1).mean(1)


class TextbookMoCo(nn.Module):
    """SkeletonCLR: query and key encoder, queue of (D, K) keys."""

    queue: Tensor

    def __init__(self, encoder: STGCN, head: nn.Module, size: int, dim: int, momentum: float, temperature: float,
                 dropout: float = 0.5) -> None:
        super().__init__()
        self.query = nn.Sequential(TextbookSTGCN(encoder, dropout), copy.deepcopy(head))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(dim, size, generator=torch.Generator().manual_seed(0)),
                                                  dim=0))
        self.momentum, self.temperature, self.place = momentum, temperature, 0

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """InfoNCE of two views; moves the key encoder and the queue."""
        q = F.normalize(self.query(query), dim=1)
        with torch.no_grad():
            _follow(self.key, self.query, self.momentum)
            k = F.normalize(self.key(key), dim=1)
        positive = torch.einsum("nc,nc->n", [q, k]).unsqueeze(-1)
        negative = torch.einsum("nc,ck->nk", [q, self.queue.clone().detach()])
        logits = torch.cat([positive, negative], 1) / self.temperature
        self.queue[:, self.place:self.place + len(k)] = k.T
        self.place = (self.place + len(k)) % self.queue.shape[1]
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


class TextbookBYOL(nn.Module):
    """SkeletonBYOL: online network with predictor, target network."""

    def __init__(self, encoder: STGCN, head: nn.Module, predictor: nn.Module, momentum: float,
                 dropout: float = 0.5) -> None:
        super().__init__()
        self.online = nn.Sequential(TextbookSTGCN(encoder, dropout), copy.deepcopy(head))
        self.predictor, self.momentum = copy.deepcopy(predictor), momentum
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Symmetric loss of two views; moves the target network."""
        predictions = [self.predictor(self.online(view)) for view in (one, other)]
        with torch.no_grad():
            targets = [self.target(view) for view in (other, one)]
            _follow(self.target, self.online, self.momentum)
        losses = [2 - 2 * (F.normalize(p, dim=-1) * F.normalize(t, dim=-1)).sum(-1)
                  for p, t in zip(predictions, targets, strict=True)]
        return (losses[0] + losses[1]).mean()


def _follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    for mine, theirs in zip(slow.parameters(), fast.parameters(), strict=True):
        mine.data = mine.data * momentum + theirs.data * (1.0 - momentum)
