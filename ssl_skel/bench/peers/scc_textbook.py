"""Skeleton cloud colorization's networks as published code writes them, for `bench speed scc-step`.

The forms are those of the public DGCNN and FoldingNet repositories (WangYueFt/dgcnn,
AnTao97/UnsupervisedPointCloudReconstruction; see method.md, section 9): edge features B x 2C x N x k through
a 1 x 1 convolution, the code repeated to every grid point, all N x M distances kept for autograd. Written
anew here; no mask, since that code knows none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_skel.nn.dgcnn import DGCNN
from ssl_skel.nn.edge_conv import EdgeConv
from ssl_skel.nn.folding import Fold, FoldingNet, square_grid
from ssl_skel.nn.point_head import PointHead

__all__ = ["TextbookDecoder", "TextbookEncoder", "textbook_chamfer"]


class TextbookEdgeConv(nn.Module):
    """Edge features, 1 x 1 convolution, batch norm, LeakyReLU, maximum over neighbours."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """Convolve (B, C, N) features over (B, N, k) neighbours."""
        batch, channels, points = x.shape
        offset = torch.arange(batch, device=x.device).view(-1, 1, 1) * points
        rows = x.transpose(1, 2).reshape(batch * points, channels)
        near = rows[(neighbours + offset).view(-1)].view(batch, points, -1, channels)
        centre = x.transpose(1, 2).unsqueeze(2).expand_as(near)
        edges = torch.cat([near - centre, centre], 3).permute(0, 3, 1, 2).contiguous()
        return F.leaky_relu(self.norm(self.conv(edges)), 0.2).max(-1)[0]

    def load(self, ours: EdgeConv) -> None:
        """Copy the weights of the suite's layer."""
        with torch.no_grad():
            self.conv.weight.copy_(ours.linear.weight[:, :, None, None])
        self.norm.load_state_dict(ours.norm.state_dict())


class TextbookHead(nn.Module):
    """1 x 1 convolution, batch norm, LeakyReLU, maximum over points."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Pool (B, C, N) features to (B, out)."""
        return F.leaky_relu(self.norm(self.conv(x)), 0.2).max(-1)[0]

    def load(self, ours: PointHead) -> None:
        """Copy the weights of the suite's layer."""
        with torch.no_grad():
            self.conv.weight.copy_(ours.linear.weight[:, :, None])
        self.norm.load_state_dict(ours.norm.state_dict())


class TextbookEncoder(nn.Module):
    """DGCNN with a graph built anew before every edge convolution."""

    def __init__(self, k: int, widths: Sequence[int] = (64, 64, 128, 256), dim: int = 1024) -> None:
        super().__init__()
        self.k = k
        self.convs = nn.ModuleList(TextbookEdgeConv(i, o) for i, o in zip((3, *widths), widths))
        self.head = TextbookHead(sum(widths), dim)

    def neighbours(self, x: Tensor) -> Tensor:
        """Return (B, N, k) nearest neighbours of (B, C, N) features by the full matrix of distances."""
        inner = -2 * torch.matmul(x.transpose(2, 1), x)
        square = (x**2).sum(1, keepdim=True)
        return (-square - inner - square.transpose(2, 1)).topk(self.k, dim=-1)[1]

    def forward(self, points: Tensor) -> Tensor:
        """Encode (B, N, 3) clouds to (B, dim)."""
        x, outputs = points.transpose(2, 1).contiguous(), []
        for conv in self.convs:
            x = conv(x, self.neighbours(x))
            outputs.append(x)
        out: Tensor = self.head(torch.cat(outputs, 1))
        return out

    def load(self, ours: DGCNN) -> None:
        """Copy the weights of the suite's encoder."""
        for mine, other in zip([*self.convs, self.head], [*ours.convs, ours.head]):
            mine.load(other)


class TextbookFold(nn.Module):
    """Three 1 x 1 convolutions with ReLU between them."""

    def __init__(self, in_channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(in_channels, hidden, 1), nn.ReLU(), nn.Conv1d(hidden, hidden, 1), nn.ReLU(),
            nn.Conv1d(hidden, out, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, N) to (B, out, N)."""
        out: Tensor = self.layers(x)
        return out

    def load(self, ours: Fold) -> None:
        """Copy the weights of the suite's fold."""
        convs = [layer for layer in self.layers if isinstance(layer, nn.Conv1d)]
        for conv, linear in zip(convs, (ours.first, ours.second, ours.third)):
            conv.load_state_dict({"weight": linear.weight[:, :, None], "bias": linear.bias})


class TextbookDecoder(nn.Module):
    """FoldingNet's two folds on the code repeated to every grid point."""

    def __init__(self, code: int = 1024, hidden: int = 512, grid: int = 45, extent: float = 0.3) -> None:
        super().__init__()
        self.register_buffer("grid", square_grid(grid, extent), persistent=False)
        self.fold1, self.fold2 = TextbookFold(code + 2, hidden, 6), TextbookFold(code + 6, hidden, 6)

    def forward(self, code: Tensor) -> Tensor:
        """Decode (B, code) to (B, grid^2, 6)."""
        grid = self.get_buffer("grid").t().unsqueeze(0).repeat(len(code), 1, 1)
        repeated = code.unsqueeze(2).repeat(1, 1, grid.shape[2])
        first = self.fold1(torch.cat([repeated, grid], 1))
        out: Tensor = self.fold2(torch.cat([repeated, first], 1)).transpose(1, 2)
        return out

    def load(self, ours: FoldingNet) -> None:
        """Copy the weights of the suite's decoder."""
        self.fold1.load(ours.fold1)
        self.fold2.load(ours.fold2)


def textbook_chamfer(source: Tensor, target: Tensor, reduction: str = "max") -> Tensor:
    """Return the mean over clouds of the max or sum of both directed means of unsquared distances.

    Args:
        source: (B, P, C).
        target: (B, Q, C).
        reduction: ``max`` or ``sum``.
    """
    inner = torch.bmm(source, target.transpose(1, 2))
    norm_s, norm_t = (source**2).sum(2).unsqueeze(2), (target**2).sum(2).unsqueeze(1)
    distance = (norm_s + norm_t - 2 * inner).clamp(min=1e-12).sqrt()
    forth, back = distance.min(2)[0].mean(1), distance.min(1)[0].mean(1)
    return (torch.max(forth, back) if reduction == "max" else forth + back).mean()
