"""Momentum encoders equal timm's moving average; the queue is first in, first out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import nn

from ssl_skel.errors import UsageMistake
from ssl_skel.nn.dropout import Dropout
from ssl_skel.nn.momentum import Momentum, momentum_at
from ssl_skel.nn.queue import Queue


@pytest.mark.oracle
def test_momentum_equals_timm() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    ours, theirs = Momentum(net), ModelEmaV3(net, decay=0.9)
    for _ in range(5):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        ours.update(net, 0.9)
        theirs.update(net)
    for a, b in zip(ours.net.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(a, b)
        assert not a.requires_grad
    assert not ours(torch.randn(3, 4)).requires_grad


def test_the_copy_drops_other_entries() -> None:
    net = nn.Sequential(Dropout(0.5)).train()
    x = torch.ones(10, 50)
    assert not torch.equal(Momentum(net).train()(x), net(x))


def test_schedule_ends_at_the_final_momentum() -> None:
    assert momentum_at(0, 100, 0.99) == pytest.approx(0.99)
    assert momentum_at(50, 100, 0.99) == pytest.approx(0.995)
    assert momentum_at(100, 100, 0.99) == 1.0


def test_queue_is_first_in_first_out() -> None:
    queue, given = Queue(8, 3), []
    for number in range(5):
        given.append(torch.randn(3, 3, generator=torch.Generator().manual_seed(number)) * 10)
        queue.push(given[-1])
    newest = F.normalize(torch.cat(given)[-8:], dim=1)
    assert {tuple(r) for r in queue.rows.tolist()} == {tuple(r) for r in newest.tolist()}
    assert queue.head == 15 % 8
    with pytest.raises(UsageMistake, match="smaller than the batch"):
        queue.push(torch.randn(9, 3))
