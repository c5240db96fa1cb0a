"""Losses against closed forms, over extreme inputs, and under autocast."""

from __future__ import annotations

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_skel.nn import losses


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_info_nce_with_queue_equals_closed_form() -> None:
    q, k, queue = rand(5, 8), rand(5, 8, seed=1), F.normalize(rand(11, 8, seed=2), dim=1)
    got = losses.info_nce(q, k, queue, temperature=0.2)
    total = 0.0
    for i in range(5):
        qi, ki = q[i] / q[i].norm(), k[i] / k[i].norm()
        scores = [float(qi @ ki) / 0.2, *[float(qi @ n) / 0.2 for n in queue]]
        total += math.log(sum(math.exp(s - scores[0]) for s in scores))
    assert got.item() == pytest.approx(total / 5, abs=1e-9)


def test_info_nce_in_batch_is_least_for_matching_keys() -> None:
    q = rand(6, 8)
    assert losses.info_nce(q, q, temperature=0.1) < losses.info_nce(q, q.roll(1, 0), temperature=0.1)


def test_info_nce_of_identical_vectors_is_log_of_candidates() -> None:
    ones = torch.ones(4, 3, dtype=torch.float64)
    queue = F.normalize(torch.ones(9, 3, dtype=torch.float64), dim=1)
    assert losses.info_nce(ones, ones, queue).item() == pytest.approx(math.log(10))
    assert losses.nt_xent(ones, ones).item() == pytest.approx(math.log(7))


def test_distribution_kl_is_zero_at_the_teacher_and_detached() -> None:
    cosines = rand(3, 7).requires_grad_()
    teacher = (cosines.detach() / 2).requires_grad_()
    loss = losses.distribution_kl(cosines, teacher, 0.1, 0.05)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    losses.distribution_kl(rand(3, 7, seed=3).requires_grad_(), teacher).backward()
    assert teacher.grad is None


def test_byol_and_simsiam_closed_forms() -> None:
    p, z = torch.tensor([[3.0, 0.0]], requires_grad=True), torch.tensor([[1.0, 1.0]], requires_grad=True)
    assert losses.byol(p, z).item() == pytest.approx(2 - math.sqrt(2), abs=1e-6)
    losses.simsiam(p, z, p, z).backward()
    assert z.grad is None
    assert p.grad is not None


def test_barlow_of_uncorrelated_columns() -> None:
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert losses.barlow_twins(z, z).item() == pytest.approx(0, abs=1e-8)
    assert losses.barlow_twins(z, z.flip(1), redundancy=0.5).item() == pytest.approx(2 + 0.5 * 2, abs=1e-4)


def test_vicreg_variants_differ_by_half_the_hinges() -> None:
    z0, z1 = 0.1 * rand(8, 4), 0.1 * rand(8, 4, seed=1)
    code, paper = (losses.vicreg(z0, z1, variant=v) for v in ("code", "paper"))
    hinge = sum(F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (z0, z1))
    assert (paper - code).item() == pytest.approx(12.5 * float(hinge), abs=1e-9)


def test_dino_never_pairs_a_view_with_itself() -> None:
    student, teacher, centre = rand(2, 4, 6), rand(2, 4, 6, seed=1), rand(6, seed=2)
    got = losses.dino(student, teacher, centre, 0.1, 0.04)
    want = 0.0
    for w, s in ((0, 1), (1, 0)):
        target = ((teacher[w] - centre) / 0.04).softmax(-1)
        want -= float((target * (student[s] / 0.1).log_softmax(-1)).sum(-1).mean()) / 2
    assert got.item() == pytest.approx(want, abs=1e-9)


def test_masked_mse_counts_only_what_weighs() -> None:
    p, t = rand(3, 4, 2), rand(3, 4, 2, seed=1)
    weight = torch.zeros(3, 4, dtype=torch.bool)
    assert losses.masked_mse(p, t, weight).item() == 0
    weight[1, 2] = weight[2, 0] = True
    want = ((p[1, 2] - t[1, 2]).square().mean() + (p[2, 0] - t[2, 0]).square().mean()) / 2
    assert losses.masked_mse(p, t, weight).item() == pytest.approx(want.item())


@given(stride=st.integers(1, 3), frames=st.integers(4, 9))
@settings(deadline=None, max_examples=20)
def test_motion_target_of_uniform_motion(stride: int, frames: int) -> None:
    xyz = torch.arange(frames, dtype=torch.float64).view(1, 1, frames, 1, 1).expand(2, 1, frames, 3, 3) * 0.5
    valid = torch.ones(2, 1, frames, 3, dtype=torch.bool)
    valid[0, 0, 1, 0] = False
    motion, has = losses.motion_target(xyz, valid, stride)
    assert (motion[has] == 0.5 * stride).all()
    assert not motion[~has].any()
    assert has[1].sum() == (frames - stride) * 3
    assert not has[0, 0, 1, 0]


def test_normalised_target_has_zero_mean_unit_variance_over_valid() -> None:
    target, valid = rand(5, 6, 3) * 7 + 2, torch.ones(5, 6, dtype=torch.bool)
    valid[0, 2:] = False
    out = losses.normalise_target(target, valid)
    assert torch.allclose(out[1].mean(), torch.zeros((), dtype=torch.float64), atol=1e-9)
    assert out[1].var().item() == pytest.approx(1, abs=1e-4)
    assert out[0, :2].var().item() == pytest.approx(1, abs=1e-3)
    assert not out[0, 2:].any()
    target[0, 4] = 1e6
    assert torch.equal(losses.normalise_target(target, valid)[0], out[0])


def test_extreme_scales_stay_finite() -> None:
    for scale in (0.0, 1e-20, 1e15):
        z0 = (rand(6, 5) * scale).float().requires_grad_()
        z1 = (rand(6, 5, seed=1) * scale).float()
        for loss in (losses.nt_xent(z0, z1), losses.info_nce(z0, z1), losses.byol(z0, z1), losses.koleo(z0)):
            assert torch.isfinite(loss)
    zero = torch.zeros(6, 5, requires_grad=True)
    for fn in (losses.barlow_twins, losses.vicreg):
        fn(zero, zero).backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()


def test_autocast_does_not_lower_the_precision_of_a_loss() -> None:
    z0, z1 = rand(32, 16).float(), rand(32, 16, seed=1).float()
    want = losses.barlow_twins(z0, z1), losses.vicreg(z0, z1), losses.nt_xent(z0, z1, 0.07)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = losses.barlow_twins(z0, z1), losses.vicreg(z0, z1), losses.nt_xent(z0, z1, 0.07)
    assert got == want


def test_losses_pass_gradcheck() -> None:
    z0, z1 = rand(5, 4).requires_grad_(), rand(5, 4, seed=1).requires_grad_()
    queue = F.normalize(rand(7, 4, seed=2), dim=1)
    with_queue = functools.partial(losses.info_nce, queue=queue, temperature=0.5)
    for fn in (losses.nt_xent, losses.barlow_twins, losses.vicreg, with_queue):
        assert torch.autograd.gradcheck(fn, (z0, z1))
