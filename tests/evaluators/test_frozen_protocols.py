import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.evaluation import context
from ssl_skel.errors import SkelError
from ssl_skel.evaluators.cluster import Cluster, ClusterConfig, hungarian_accuracy
from ssl_skel.evaluators.fewshot import FewShot, FewShotConfig, draw, episode_chance, prototypes
from ssl_skel.evaluators.linear_sgd import LinearSGD, LinearSGDConfig
from ssl_skel.evaluators.retrieval import Retrieval, average_precision, first_rank
from ssl_skel.evaluators.shuffled import ShuffledProbe


@pytest.mark.oracle
@pytest.mark.parametrize("fusion", ["single", "concat", "scores"])
def test_retrieval_equals_sklearn(fusion):
    from sklearn.metrics import average_precision_score

    ctx, labels = context(streams=1 if fusion == "single" else 2, fusion=fusion, classes=6)
    metrics = Retrieval(None).score(Retrieval(None).evaluate(ctx), labels, 6)
    similarity = sum(torch.nn.functional.normalize(ctx.test.streams[name], dim=1)
                     @ torch.nn.functional.normalize(ctx.train.streams[name], dim=1).T for name in ctx.train.streams)
    relevant = ctx.train.labels[None] == labels[:, None]
    want = np.mean([average_precision_score(r, s) for s, r in zip(similarity, relevant, strict=True)])
    assert metrics["map"] == pytest.approx(want, abs=1e-5)
    order = similarity.argsort(dim=1, descending=True)
    for k in (1, 5, 10):
        hit = relevant.gather(1, order[:, :k]).any(1).double().mean()
        assert metrics[f"r{k}"] == pytest.approx(float(hit))
    assert metrics["top1"] == metrics["r1"]


def test_average_precision_by_hand():
    """Places 1 and 3 of four: (1/1 + 2/3) / 2; places 2 and 4: (1/2 + 2/4) / 2."""
    ranked = torch.tensor([[0, 1, 0, 1]])
    torch.testing.assert_close(average_precision(ranked, 2), torch.tensor([[5 / 6, 0.5]], dtype=torch.float64))
    assert first_rank(ranked, 2).tolist() == [[0, 1]]


@pytest.mark.oracle
def test_cluster_metrics_equal_torchmetrics():
    from torchmetrics.functional.clustering import adjusted_rand_score, normalized_mutual_info_score

    ctx, labels = context(classes=6)
    evaluator = Cluster(ClusterConfig(starts=2))
    result = evaluator.evaluate(ctx)
    metrics = evaluator.score(result, labels, 6)
    found = result.extra["cluster"]
    assert metrics["nmi"] == pytest.approx(float(normalized_mutual_info_score(found, labels)), abs=1e-5)
    assert metrics["ari"] == pytest.approx(float(adjusted_rand_score(found, labels)), abs=1e-5)
    assert torch.equal(result.top, evaluator.evaluate(ctx).top)
    assert metrics["top1"] > 1 / 6


def test_hungarian_equals_trying_every_naming():
    gen = torch.Generator().manual_seed(0)
    cluster, labels = torch.randint(4, (50,), generator=gen), torch.randint(4, (50,), generator=gen)
    best = max(float((torch.tensor(naming)[cluster] == labels).double().mean())
               for naming in itertools.permutations(range(4)))
    assert hungarian_accuracy(cluster, labels, 4) == pytest.approx(best)


def test_shuffled_labels_are_at_chance():
    ctx, labels = context(n=900, d=6)
    probe = ShuffledProbe(ShuffledProbe.Config(l2=(0.1, 0.01)))
    metrics = probe.score(probe.evaluate(ctx), labels, 4)
    assert abs(metrics["top1"] - 0.25) < 0.1


def test_episode_chance_equals_counting():
    """Five classes, 3-way: of the pairs among 4 others, those without the r nearer ones."""
    for r in range(5):
        pairs = list(itertools.combinations(range(4), 2))
        want = np.mean([all(other >= r for other in pair) for pair in pairs])
        assert float(episode_chance(5, 3)[r]) == pytest.approx(want)


def test_fewshot_equals_drawn_episodes():
    ctx, labels = context(classes=6, n=300)
    evaluator = FewShot(FewShotConfig(way=3, shot=2, draws=4))
    metrics = evaluator.score(evaluator.evaluate(ctx), labels, 6)
    gen, rng, right = torch.Generator().manual_seed(ctx.seed), np.random.default_rng(0), []
    memory = torch.nn.functional.normalize(ctx.train.streams["a"], dim=1)
    query = torch.nn.functional.normalize(ctx.test.streams["a"], dim=1)
    for _ in range(4):
        chosen = draw(ctx.train.labels, 6, 2, gen)
        assert (ctx.train.labels[chosen] == torch.arange(6)[:, None]).all()
        assert len(chosen.unique()) == 12
        similarity = query @ prototypes(memory[chosen]).T
        for row, label in zip(similarity, labels.tolist(), strict=True):
            for _ in range(30):
                others = rng.choice([c for c in range(6) if c != label], 2, replace=False)
                right.append(bool(row[label] > row[others].max()))
    assert metrics["3way2shot"] == pytest.approx(np.mean(right), abs=0.02)
    assert metrics["all_way2shot"] <= metrics["3way2shot"]


def test_one_shot_takes_the_nearest_exemplar():
    ctx, labels = context(classes=6, n=300)
    first = torch.stack([(ctx.train.labels == c).nonzero()[0, 0] for c in (4, 2)])
    support = replace(ctx.train, streams={"a": ctx.train.streams["a"][first]}, labels=torch.tensor([4, 2]),
                      names=[ctx.train.names[i] for i in first], subjects=ctx.train.subjects[first])
    result = FewShot(FewShotConfig()).evaluate(replace(ctx, support=support))
    near = torch.nn.functional.normalize(support.streams["a"], dim=1)
    want = torch.tensor([4, 2])[(torch.nn.functional.normalize(ctx.test.streams["a"], dim=1) @ near.T).argmax(1)]
    assert torch.equal(result.top[:, 0], want)
    assert set(FewShot(FewShotConfig()).score(result, labels, 6)) == {"top1", "top5", "mean_class"}


def test_too_many_shots_are_refused():
    with pytest.raises(SkelError, match="fewer than shot"):
        FewShot(FewShotConfig(shot=1000)).evaluate(context()[0])


@pytest.mark.oracle
def test_sgd_step_equals_torch():
    """One rate: the same layer trained by torch.optim on the same batches."""
    ctx, _ = context()
    cfg = LinearSGDConfig(lr=(0.1,), epochs=5, batch=32)
    result = LinearSGD(cfg).evaluate(ctx)
    x = ctx.train.streams["a"].double()
    mean, std = x.mean(0), x.std(0, correction=0)
    x, test = ((x - mean) / std).float(), ((ctx.test.streams["a"].double() - mean) / std).float()
    layer = torch.nn.Linear(10, 4)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    gen = torch.Generator().manual_seed(ctx.seed)
    for epoch in range(5):
        optimiser.param_groups[0]["lr"] = 0.01 if epoch >= 4 else 0.1
        for part in torch.randperm(len(x), generator=gen).split(32):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[part]), ctx.train.labels[part]).backward()
            optimiser.step()
    assert (result.top[:, 0] == layer(test).argmax(1)).double().mean() > 0.98
    assert result.chosen["lr"] == 0.1


def test_sgd_drops_a_rate_that_overflows():
    ctx, _ = context()
    result = LinearSGD(LinearSGDConfig(lr=(1e39, 0.1), epochs=3)).evaluate(ctx)
    assert result.chosen["lr"] == 0.1
    with pytest.raises(SkelError, match="no learning rate"):
        LinearSGD(LinearSGDConfig(lr=(1e39,), epochs=3)).evaluate(ctx)
