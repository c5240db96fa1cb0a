"""Few-shot classification by the nearest prototype of frozen features."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_skel.api import EvalContext, EvalResult, Evaluator, FeatureSet, TaskConfig
from ssl_skel.bench.metrics import classification_metrics, top_k
from ssl_skel.errors import BadData, SkelError
from ssl_skel.evaluators.common import check_test, pair_weights, train_labels, unit_streams


class FewShotConfig(TaskConfig):
    """Keys of the few-shot evaluator.

    Attributes:
        way: Classes n of an episode; at most C are taken.
        shot: Labelled clips k of each class.
        draws: Draws of the labelled clips.
    """

    way: int = 5
    shot: int = 1
    draws: int = 100


class FewShot(Evaluator):
    """n-way k-shot episodes, or the official one-shot protocol where the split has exemplars (NTU120).

    Without exemplars: in each draw, k training clips of every class give its prototype (mean of L2-normalised
    features); a test clip is right if its class's prototype is nearer than those of n - 1 other classes. How
    often that is so over all choices of the others is computed, not drawn: with r of the C - 1 others nearer it
    is binom(C - 1 - r, n - 1) / binom(C - 1, n - 1). With exemplars: the class of the nearest one, as in Liu et
    al. (NTU RGB+D 120, 2019). Both fusions add up the streams' cosines.
    """

    name = "fewshot"
    Config = FewShotConfig
    cfg: FewShotConfig

    @classmethod
    def check(cls, cfg: FewShotConfig, ctx: EvalContext) -> None:
        """Refuse a class with fewer training clips than shots; exemplars need no class in training."""
        check_test(ctx)
        if ctx.support is None:
            _shots(ctx, cfg.shot)

    def evaluate(self, ctx: EvalContext) -> EvalResult:
        """Compare each test clip with the prototypes.

        Raises:
            SkelError: If a class has fewer training clips than shots.
        """
        if ctx.support is not None:
            return self._one_shot(ctx, ctx.support)
        labels = _shots(ctx, self.cfg.shot)
        gen = torch.Generator().manual_seed(ctx.seed)
        streams, nearer = list(zip(pair_weights(ctx), unit_streams(ctx), strict=True)), []
        total = torch.zeros(len(ctx.test), ctx.num_classes, device=ctx.device)
        for _ in range(self.cfg.draws):
            chosen = draw(labels, ctx.num_classes, self.cfg.shot, gen).to(ctx.device)
            similarity = torch.stack([share * (query @ prototypes(memory[chosen]).T)
                                      for share, (memory, query) in streams]).sum(0)
            places = torch.sort(similarity, dim=1, descending=True, stable=True).indices.argsort(dim=1)
            nearer.append(places.to(torch.int16))
            total += similarity
        return EvalResult(top=top_k(total), extra={"nearer": torch.stack(nearer, dim=1).cpu()})

    def _one_shot(self, ctx: EvalContext, support: FeatureSet) -> EvalResult:
        if support.labels is None or len(support) == 0:
            raise BadData("the exemplars have no labels", "Check the split.")
        exemplars = EvalContext(support, torch.zeros(len(support), dtype=torch.bool), ctx.test, ctx.num_classes,
                                ctx.fusion, ctx.seed, ctx.device, weights=ctx.weights)
        pairs = zip(pair_weights(exemplars), unit_streams(exemplars), strict=True)
        similarity = torch.stack([share * (query @ memory.T) for share, (memory, query) in pairs]).sum(dim=0)
        scores = similarity.new_full((len(ctx.test), ctx.num_classes), -torch.inf)
        scores = scores.scatter_reduce(1, support.labels.to(ctx.device).expand_as(similarity), similarity, "amax")
        return EvalResult(top=top_k(scores))

    def score(self, result: EvalResult, labels: Tensor, num_classes: int) -> dict[str, float]:
        """``5way1shot`` (as configured) with ``top1`` among all classes, averaged over the draws."""
        metrics = classification_metrics(result.top, labels, num_classes)
        if "nearer" not in result.extra:
            return metrics
        nearer = result.extra["nearer"].long()
        mine = nearer.gather(2, labels[:, None, None].expand(-1, nearer.shape[1], 1))[..., 0]
        way = min(self.cfg.way, num_classes)
        chance = episode_chance(num_classes, way)[mine].mean()
        return metrics | {f"{way}way{self.cfg.shot}shot": float(chance),
                          f"all_way{self.cfg.shot}shot": float((mine == 0).double().mean())}


def _shots(ctx: EvalContext, shot: int) -> Tensor:
    """Training labels, of which every class has at least `shot`."""
    labels = train_labels(ctx)
    fewest = int(torch.bincount(labels, minlength=ctx.num_classes).min())
    if fewest < shot:
        raise SkelError(f"a class has {fewest} training clips, fewer than shot = {shot}", "Use fewer shots.")
    return labels


def draw(labels: Tensor, num_classes: int, shot: int, gen: torch.Generator) -> Tensor:
    """Draw `shot` distinct clips of each class.

    Args:
        labels: (n,) int64 on the CPU, each class at least `shot` times.
        num_classes: C.
        shot: k.
        gen: Of the CPU.

    Returns:
        (C, k) int64 positions.
    """
    order = torch.randperm(len(labels), generator=gen)
    by_class = order[torch.sort(labels[order], stable=True).indices]
    counts = torch.bincount(labels, minlength=num_classes)
    return by_class[(counts.cumsum(0) - counts)[:, None] + torch.arange(shot)]


def prototypes(support: Tensor) -> Tensor:
    """Unit mean of (C, k, D) unit features, (C, D)."""
    return torch.nn.functional.normalize(support.mean(dim=1), dim=1)


def episode_chance(num_classes: int, way: int) -> Tensor:
    """Probability that none of n - 1 other classes drawn is among the r nearer ones, for r = 0 .. C - 1.

    Args:
        num_classes: C.
        way: n.

    Returns:
        (C,) float64: binom(C - 1 - r, n - 1) / binom(C - 1, n - 1).
    """
    others = num_classes - 1
    step = torch.arange(way - 1, dtype=torch.float64)
    nearer = torch.arange(num_classes, dtype=torch.float64)[:, None]
    return ((others - nearer - step) / (others - step)).clamp_min(0).prod(dim=1)
