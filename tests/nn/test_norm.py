"""Masked normalisation equals torch's on what is valid, passes gradcheck, and is alike over processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from ssl_skel.nn.dropout import Dropout
from ssl_skel.nn.norm import MaskedBatchNorm


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 5


def make(channels: int, affine: bool = True) -> MaskedBatchNorm:
    norm = MaskedBatchNorm(channels, affine=affine).double()
    if affine:
        with torch.no_grad():
            norm.weight.copy_(rand(channels, seed=7))
            norm.bias.copy_(rand(channels, seed=8))
    return norm


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5), (3, 4, 5, 2)])
@pytest.mark.parametrize("masked", ["none", "all", "some"])
def test_equals_batch_norm_over_the_valid_entries(shape: tuple[int, ...], masked: str) -> None:
    x = rand(*shape).requires_grad_()
    mask = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)
    if masked == "some":
        mask = rand(*mask.shape, seed=3) > 5
    ours, theirs = make(4), nn.BatchNorm1d(4).double()
    theirs.load_state_dict(ours.state_dict())
    y = ours(x, None if masked == "none" else mask)
    keep = mask.movedim(1, -1)[..., 0]
    want = theirs(x.movedim(1, -1)[keep])
    torch.testing.assert_close(y.movedim(1, -1)[keep], want)
    assert not y.movedim(1, -1)[~keep].any()
    cotangent = rand(*shape, seed=5)
    (grad,) = torch.autograd.grad((y * cotangent).sum(), x)
    (expected,) = torch.autograd.grad((want * cotangent.movedim(1, -1)[keep]).sum(), x)
    torch.testing.assert_close(grad, expected)
    for name, buffer in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], buffer)
    ours.eval()
    theirs.eval()
    got = ours(x, mask).movedim(1, -1)[keep]
    torch.testing.assert_close(got, theirs(x.movedim(1, -1)[keep]))


def test_gradcheck_with_a_mask_for_each_channel() -> None:
    norm, x = make(3), rand(4, 3, 5).requires_grad_()
    mask = rand(4, 3, 5, seed=2) > 4.5
    inputs = (x, norm.weight, norm.bias)
    assert torch.autograd.gradcheck(lambda a, w, b: functional(norm, a, mask, w, b), inputs)


def functional(norm: MaskedBatchNorm, x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out: Tensor = torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, mask))
    return out


@pytest.mark.parametrize("train", [True, False])
def test_content_at_masked_entries_counts_for_nothing(train: bool) -> None:
    x, mask = rand(4, 3, 6).float(), torch.rand(4, 1, 6, generator=torch.Generator().manual_seed(0)) > 0.4
    outs = []
    for junk in (0.0, 1e30, float("nan"), float("inf")):
        norm = MaskedBatchNorm(3).train(train)
        outs.append((norm(x.masked_fill(~mask, junk), mask), norm.running_var))
    assert all(torch.equal(outs[0][i], out[i]) for out in outs[1:] for i in (0, 1))


def test_nothing_valid_and_a_single_entry_stay_finite() -> None:
    norm = MaskedBatchNorm(2)
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    out = norm(torch.randn(3, 2, 4), torch.zeros(3, 1, 4, dtype=torch.bool))
    assert not out.any()
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    assert torch.isfinite(norm(torch.randn(1, 2))).all()


def worker(rank: int, store: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    x, mask, weight = rand(6, 3, 4), rand(6, 1, 4, seed=2) > 5, rand(6, 3, 4, seed=4)
    norm, part = make(3), slice(3 * rank, 3 * rank + 3)
    local = x[part].clone().requires_grad_()
    (norm(local, mask[part]) * weight[part]).sum().backward()
    torch.save((local.grad, norm.state_dict(), norm.weight.grad), f"{out}{rank}")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path / "store"), str(tmp_path / "out")), nprocs=2)
    parts = [torch.load(tmp_path / f"out{rank}", weights_only=True) for rank in (0, 1)]
    x, mask, weight = rand(6, 3, 4).requires_grad_(), rand(6, 1, 4, seed=2) > 5, rand(6, 3, 4, seed=4)
    norm = make(3)
    (norm(x, mask) * weight).sum().backward()
    torch.testing.assert_close(torch.cat([p[0] for p in parts]), x.grad)
    torch.testing.assert_close(parts[0][2] + parts[1][2], norm.weight.grad)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(parts[1][1][name], value)


def test_dropout_is_seeded_by_its_own_state() -> None:
    torch.manual_seed(0)
    drop, x = Dropout(0.3), torch.ones(200, 50)
    rng = torch.get_rng_state()
    first, kept = drop(x), {k: v.clone() for k, v in drop.state_dict().items()}
    second = drop(x)
    assert torch.equal(torch.get_rng_state(), rng)
    assert not torch.equal(first, second)
    assert 0.28 < (first == 0).float().mean() < 0.32
    assert first.mean().item() == pytest.approx(1, abs=0.02)
    other = Dropout(0.3)
    assert not torch.equal(other(x), first)
    other.load_state_dict(kept)
    assert torch.equal(other(x), second)
    assert drop.eval()(x) is x


def test_a_masked_pass_may_follow_an_unmasked_one_before_the_backward_pass() -> None:
    norm, x = make(3).train(), rand(4, 3, 6).requires_grad_()
    before = norm.running_mean.clone()
    whole, part = norm(x), norm(x, rand(4, 1, 6, seed=2) > 5)
    (whole * part.detach()).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert not torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_drops_its_share_anywhere_and_scales_the_rest(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    out = Dropout(p)(torch.ones(101, 7, 5, 33, dtype=dtype))
    assert out.dtype == dtype
    kept = out != 0
    share = kept.double()
    sigma = (p * (1 - p)) ** 0.5
    for number, at_lane in enumerate(share.flatten()[:share.numel() // 4 * 4].view(-1, 4).t()):
        assert abs(at_lane.mean() - (1 - p)) < 5 * sigma / len(at_lane) ** 0.5, number
    assert torch.equal(out[kept], torch.ones((), dtype=dtype).mul(1 / (1 - p)).expand(int(kept.sum())))
    assert Dropout(p)(torch.ones((), dtype=dtype)).shape == ()
