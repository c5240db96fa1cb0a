"""The order of a store, which is sorted by clip name and so often by class, reaches neither methods nor evaluators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helpers.cheats import ByPosition, by_position
from helpers.tiny import Workshop
from helpers.training import VIEW, Task, job
from ssl_skel import evaluate, untrained_encoder
from ssl_skel.api import Backbone, Features, TaskConfig
from ssl_skel.bench.features import encode
from ssl_skel.bench.store import RecordStore
from ssl_skel.data.open import open_split
from ssl_skel.train import pretrain

DATA = open_split("synthetic", "xsub", frames=8)


def test_the_store_is_sorted_by_class() -> None:
    """Else nothing below could fail."""
    assert (by_position(len(DATA.test), DATA.num_classes) == DATA.test.labels).float().mean() > 0.9


def test_the_number_of_a_clip_is_not_its_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, set[int]] = {}
    asked: list[Tensor] = []

    class Watcher(Task):
        def views(self, batch: Any, gen: torch.Generator) -> Any:
            for position, number in zip(asked.pop().tolist(), batch.index.tolist(), strict=True):
                seen.setdefault(position, set()).add(number)
            return super().views(batch, gen)

    sample = VIEW.train.clips.sample
    monkeypatch.setattr(type(VIEW.train.clips), "sample",
                        lambda self, index, *rest: (asked.append(index), sample(index, *rest))[1])
    pretrain(job(tmp_path, Watcher(), epochs=3))
    assert all(len(numbers) == 1 for numbers in seen.values())  # the same clip, the same number
    numbers = torch.tensor([number for _, (number,) in sorted(seen.items())])
    assert sorted(numbers.tolist()) == list(range(len(VIEW.train)))
    assert abs(correlation(numbers)) < 0.5


def correlation(values: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([values.float(), torch.arange(len(values)).float()]))[0, 1])


class Counter(nn.Module):
    """A network whose vector is how many clips it has met."""

    dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def forward(self, xyz: Tensor, valid: Tensor, layout: Any) -> Features:
        first, self.met = self.met, self.met + len(xyz)
        return Features(torch.arange(first, self.met).float()[:, None])


def test_a_network_that_counts_its_clips_learns_nothing() -> None:
    counter: Backbone = Counter()  # type: ignore[assignment]
    found = encode({"encoder": counter}, DATA.test.clips)["encoder"][:, 0]
    assert sorted(found.tolist()) == list(range(len(DATA.test)))
    assert abs(correlation(found)) < 0.3


def test_an_evaluator_that_looks_at_the_order_is_at_chance() -> None:
    (found,) = evaluate(untrained_encoder("stgcn", "kinect_v1_20", frames=8), DATA, [ByPosition(TaskConfig())]).values()
    assert found.metrics["top1"] < 0.4


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, evaluators={
        "by-position": {"target": "helpers.cheats:ByPosition"}, "rewriter": {"target": "helpers.cheats:Rewriter"}})


def test_predictions_are_written_before_labels_are_handed_out(shop: Workshop) -> None:
    assert shop.run_here(shop.plan("tiny", evaluators=("by-position", "rewriter"))) in (0, 1)
    store = RecordStore(shop.out)
    tables = {record.cell.evaluator: store.read_predictions(record) for record in store.all()}
    assert tables["rewriter"].correct.tolist() == tables["by-position"].correct.tolist()
    assert tables["rewriter"].clips == tables["by-position"].clips
    assert list(tables["rewriter"].clips) == sorted(tables["rewriter"].clips)  # the order of the store
