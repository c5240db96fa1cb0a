"""A small evaluation: clips of Gaussian classes with a shift for each subject."""

from collections.abc import Callable

import torch

from ssl_skel.api import EvalContext, FeatureSet


def blobs(n: int, d: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, d) float64 correlated features of overlapping classes, and labels in which each class occurs."""
    gen = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=gen, dtype=torch.float64)
    mix = torch.randn(d, d, generator=gen, dtype=torch.float64) / d**0.5
    return (centres[labels] + 2 * torch.randn(n, d, generator=gen, dtype=torch.float64)) @ mix, labels


def context(n: int = 240, d: int = 10, classes: int = 4, streams: int = 1, subjects: int = 4,
            fusion: str = "single", declared: int | None = None, seed: int = 0,
            change: Callable[[FeatureSet], dict[str, torch.Tensor]] | None = None,
            ) -> tuple[EvalContext, torch.Tensor]:
    """An evaluation context (the last subject of the training part is held out) and the test labels."""
    names = "abc"[:streams]
    features, labels = {}, torch.empty(0)
    for i, name in enumerate(names):
        x, labels = blobs(n, d, classes, seed=seed + i)
        features[name] = x.float()
    gen = torch.Generator().manual_seed(seed + 100)
    order = torch.randperm(n, generator=gen)
    train, test = order[: 2 * n // 3], order[2 * n // 3:]

    def part(index: torch.Tensor, subject: torch.Tensor, with_labels: bool) -> FeatureSet:
        made = FeatureSet({k: v[index] for k, v in features.items()}, [f"clip{int(i):04d}" for i in index],
                          subject, labels[index] if with_labels else None)
        return made if change is None else FeatureSet(change(made), made.names, made.subjects, made.labels)

    who = torch.arange(len(train)) % subjects
    ctx = EvalContext(
        train=part(train, who, True), val=(who == subjects - 1) & (subjects > 1),
        test=part(test, torch.full((len(test),), 99), False),
        num_classes=declared or classes, fusion=fusion, seed=seed)  # type: ignore[arg-type]
    return ctx, labels[test]
