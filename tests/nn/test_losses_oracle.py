"""Losses equal lightly's to 1e-5 on random inputs of several sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssl_skel.nn import losses

lightly_loss = pytest.importorskip("lightly.loss")
pytestmark = pytest.mark.oracle

SIZES = [(2, 3), (7, 16), (64, 128)]


def pair(batch: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    gen = torch.Generator().manual_seed(batch)
    z0 = torch.randn(batch, dim, generator=gen)
    return z0, z0 + 0.7 * torch.randn(batch, dim, generator=gen)


@pytest.mark.parametrize(("batch", "dim"), SIZES)
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent(batch: int, dim: int, temperature: float) -> None:
    z0, z1 = pair(batch, dim)
    want = lightly_loss.NTXentLoss(temperature=temperature)(z0, z1)
    torch.testing.assert_close(losses.nt_xent(z0, z1, temperature), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "dim"), SIZES)
def test_info_nce_with_queue(batch: int, dim: int) -> None:
    z0, z1 = pair(batch, dim)
    oracle = lightly_loss.NTXentLoss(temperature=0.07, memory_bank_size=(32, dim))
    bank = oracle.memory_bank.bank.clone()
    queue = bank if bank.shape == (32, dim) else bank.T
    want = oracle(z0, z1)
    torch.testing.assert_close(losses.info_nce(z0, z1, queue.contiguous(), 0.07), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "dim"), SIZES)
def test_barlow_twins(batch: int, dim: int) -> None:
    z0, z1 = pair(batch, dim)
    want = lightly_loss.BarlowTwinsLoss(lambda_param=0.02)(z0.clone(), z1.clone())
    torch.testing.assert_close(losses.barlow_twins(z0, z1, 0.02), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "dim"), SIZES)
def test_vicreg_code_variant(batch: int, dim: int) -> None:
    z0, z1 = pair(batch, dim)
    want = lightly_loss.VICRegLoss(5.0, 4.0, 3.0)(z0, z1)
    torch.testing.assert_close(losses.vicreg(z0, z1, 5.0, 4.0, 3.0), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "dim"), SIZES)
def test_negative_cosine(batch: int, dim: int) -> None:
    z0, z1 = pair(batch, dim)
    want = lightly_loss.NegativeCosineSimilarity()(z0, z1)
    torch.testing.assert_close(losses.negative_cosine(z0, z1), want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses.byol(z0, z1), 2 + 2 * want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("views", [2, 5])
def test_dino(views: int) -> None:
    gen = torch.Generator().manual_seed(views)
    student, teacher = torch.randn(views, 8, 12, generator=gen), torch.randn(2, 8, 12, generator=gen)
    oracle = lightly_loss.DINOLoss(output_dim=12, teacher_temp=0.05)
    oracle.center.copy_(torch.randn(1, 1, 12, generator=gen))
    centre = oracle.center.flatten().clone()
    want = oracle(list(teacher), list(student), teacher_temp=0.05)
    torch.testing.assert_close(losses.dino(student, teacher, centre, 0.1, 0.05), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "dim"), SIZES)
def test_koleo(batch: int, dim: int) -> None:
    z = F.normalize(pair(batch, dim)[1], dim=1)
    torch.testing.assert_close(losses.koleo(z), lightly_loss.KoLeoLoss()(z), atol=1e-5, rtol=1e-5)
