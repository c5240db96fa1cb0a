import subprocess
import sys

import numpy as np
import pytest
import torch

from ssl_skel.nn import fast
from ssl_skel.nn.edge_conv import EdgeConv
from ssl_skel.nn.knn import knn


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_numba_is_not_imported_with_the_networks():
    code = "import sys, ssl_skel.nn.dgcnn, ssl_skel.nn.chamfer; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_takes_float32_on_a_cpu_unless_switched_off(monkeypatch):
    monkeypatch.delenv("SSL_SKEL_FAST", raising=False)
    assert fast.takes(torch.zeros(1)) == fast.available()
    assert not fast.takes(torch.zeros(1, dtype=torch.float64))
    assert not fast.takes(torch.zeros(1, dtype=torch.bfloat16))
    assert not fast.takes(torch.zeros(1, device="meta"))
    monkeypatch.setenv("SSL_SKEL_FAST", "0")
    assert not fast.takes(torch.zeros(1))


@pytest.mark.parametrize("units", [1, 2, 3, 7])
def test_ranges_make_up_all_units(units, two_threads):
    seen = np.zeros(units, np.int64)

    def kernel(array, start, stop):
        array[start:stop] += 1

    fast.over_threads(kernel, units, torch.from_numpy(seen))
    assert (seen == 1).all()


def test_an_error_in_a_helper_is_raised(two_threads):
    def kernel(start, stop):
        if start:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fast.over_threads(kernel, 2)


def test_one_thread_and_two_give_the_same_numbers(two_threads):
    gen = torch.Generator().manual_seed(0)
    x, valid = torch.randn(3, 70, 3, generator=gen), torch.rand(3, 70, generator=gen) < 0.9
    layer = EdgeConv(3, 70).eval()
    results = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        leaf = x.clone().requires_grad_()
        out = layer(leaf, knn(x, valid, 8), valid)
        out.square().sum().backward()
        results.append((out.detach(), leaf.grad))
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)
