"""Clips whose classes differ in how a joint moves, and a small encoder; an evaluation that needs encoders."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ssl_skel.api import Backbone, Batch, EvalContext, Features, FeatureSet
from ssl_skel.bench.features import encode
from ssl_skel.data.layouts import Layout, get_layout


class Source:
    """Clips in memory, as evaluators get them."""

    def __init__(self, xyz: Tensor, valid: Tensor, layout: Layout) -> None:
        self.xyz, self.valid, self.layout = xyz, valid, layout

    def __len__(self) -> int:
        return len(self.xyz)

    def prefetch(self, index: Tensor) -> None:
        """Nothing to gather."""

    def batch(self, index: Tensor) -> Batch:
        return Batch(self.xyz[index], self.valid[index], index, self.layout)


class Small(Backbone):
    """Motion and mean position of each joint, mixed by a fixed random layer; honours `valid`."""

    dim = 24

    def __init__(self, layout: Layout, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__(None, layout)
        gen = torch.Generator().manual_seed(seed)
        self.mix = nn.Linear(6 * layout.num_joints, self.dim)
        self.norm = nn.BatchNorm1d(self.dim)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(self.mix.weight.shape, generator=gen) / 4)
            self.mix.bias.zero_()

    def forward(self, xyz: Tensor, valid: Tensor, layout: Layout) -> Features:
        weight = valid[..., None].to(xyz.dtype)
        count = weight.sum(dim=(1, 2)).clamp_min(1)
        mean = (xyz * weight).sum(dim=(1, 2)) / count
        spread = ((xyz - mean[:, None, None]).square() * weight).sum(dim=(1, 2)) / count
        mixed = self.mix(torch.cat([mean, spread.sqrt()], dim=-1).flatten(1))
        return Features(self.dropout(torch.relu(self.norm(mixed))))


def clips(n: int, layout: Layout, classes: int, frames: int, seed: int) -> tuple[Source, Tensor]:
    """Joint 3c swings in class c; noise on all; the second of two persons stands still."""
    gen = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    rest = torch.randn(1, layout.persons, 1, layout.num_joints, 3, generator=torch.Generator().manual_seed(9))
    xyz = rest + 0.1 * torch.randn(n, layout.persons, frames, layout.num_joints, 3, generator=gen)
    swing = torch.sin(torch.linspace(0, 6, frames)) * (0.5 + torch.rand(n, 1, generator=gen))
    for clip, label in enumerate(labels.tolist()):
        xyz[clip, 0, :, 3 * label, 1] += swing[clip]
    valid = torch.ones(xyz.shape[:-1], dtype=torch.bool)
    if layout.persons > 1:
        valid[::2, 1] = False
    return Source(xyz * valid[..., None], valid, layout), labels


def moving_context(persons: int = 1, streams: int = 1, fusion: str = "single", n: int = 96, classes: int = 3,
                   frames: int = 12) -> tuple[EvalContext, Tensor]:
    """An evaluation context with encoders and clips, and the test labels."""
    layout = get_layout("nite_15", persons)
    (train, labels), (test, wanted) = (clips(size, layout, classes, frames, seed)
                                       for size, seed in ((n, 0), (n // 2, 1)))
    encoders = {name: Small(layout, seed).eval() for seed, name in enumerate("ab"[:streams])}
    subjects = torch.arange(n) // classes % 4

    def part(source: Source, who: Tensor, known: Tensor | None, prefix: str) -> FeatureSet:
        features = {name: value.clone() for name, value in encode(encoders, source).items()}
        return FeatureSet(features, [f"{prefix}{i:03d}" for i in range(len(source))], who, known)

    ctx = EvalContext(train=part(train, subjects, labels, "train"), val=subjects == 3,
                      test=part(test, torch.full((len(test),), 9), None, "test"), num_classes=classes)
    return replace(ctx, fusion=fusion, encoders=encoders, train_clips=train, test_clips=test), wanted
