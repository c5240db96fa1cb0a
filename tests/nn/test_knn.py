import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.clouds import Case, cases
from ssl_skel.errors import UsageMistake
from ssl_skel.nn import knn as module
from ssl_skel.nn.knn import knn


def check_neighbours(found, x, valid, k, tolerance):
    for cloud, rows, mask in zip(x.double(), found, valid):
        held = mask.nonzero().flatten()
        for point in range(len(cloud)):
            near = rows[point].tolist()
            if not mask[point]:
                assert near == [point] * k
                continue
            distances = (cloud[held] - cloud[point]).square().sum(1)
            real = min(k, len(held))
            chosen = list(dict.fromkeys(near)) if len(held) < k else near
            assert len(chosen) == len(set(chosen)) == real
            assert mask[chosen].all()
            assert len(held) >= k or near.count(point) == k - real + 1
            ours = (cloud[chosen] - cloud[point]).square().sum(1).sort().values
            torch.testing.assert_close(ours, distances.sort().values[:real], rtol=0, atol=tolerance)


@settings(max_examples=60, deadline=None)
@given(cases(most=40))
def test_finds_the_nearest_valid_points(case: Case):
    check_neighbours(knn(case.x, case.valid, case.k), case.x, case.valid, case.k, 1e-12)


@settings(max_examples=60, deadline=None)
@given(cases(most=40), st.sampled_from(["0", "1"]))
def test_finds_the_nearest_in_float32_compiled_or_not(case: Case, fast: str):
    x = case.x.float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_SKEL_FAST", fast)
        found = knn(x, case.valid, case.k)
    check_neighbours(found, x, case.valid, case.k, 1e-4)


@pytest.mark.parametrize("fast", ["0", "1"])
@pytest.mark.parametrize("block", [1, 700, 1 << 20])
@pytest.mark.parametrize(("points", "k"), [(330, 1), (330, 20), (200, 70), (64, 64), (130, 130)])
def test_finds_the_nearest_among_many(points, k, block, fast, monkeypatch):
    monkeypatch.setenv("SSL_SKEL_FAST", fast)
    monkeypatch.setitem(module.BLOCK, "cpu", block)
    gen = torch.Generator().manual_seed(points + k)
    rows = 3 if block > 1 else 1
    x = torch.randn(rows, points, 3, generator=gen).mul(4).round() / 4  # many ties and duplicates
    valid = torch.rand(rows, points, generator=gen) < 0.8
    check_neighbours(knn(x, valid, k), x, valid, k, 1e-4)


def test_grids_with_many_equal_distances_give_each_neighbour_once():
    x = torch.cartesian_prod(*[torch.arange(5.0)] * 3)[None]
    valid = torch.ones(1, 125, dtype=torch.bool)
    check_neighbours(knn(x, valid, 9), x, valid, 9, 1e-5)


def test_a_cloud_far_from_the_origin_keeps_its_neighbours():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(2, 300, 3, generator=gen)
    valid = torch.rand(2, 300, generator=gen) < 0.9
    x[~valid] = torch.inf
    near = knn(x, valid, 5)
    far = knn((x.double() + 4096).float(), valid, 5)
    agree = (near.sort(2).values == far.sort(2).values).all(2)[valid].float().mean()
    assert agree > 0.98


def test_content_at_invalid_points_changes_nothing():
    gen = torch.Generator().manual_seed(1)
    x, valid = torch.randn(2, 30, 4, generator=gen), torch.rand(2, 30, generator=gen) < 0.6
    other = torch.where(valid[..., None], x, torch.nan)
    assert torch.equal(knn(x, valid, 4), knn(other, valid, 4))


def test_refuses_no_neighbours():
    with pytest.raises(UsageMistake, match="at least one"):
        knn(torch.zeros(1, 3, 3), torch.ones(1, 3, dtype=torch.bool), 0)


@pytest.mark.oracle
@pytest.mark.parametrize("channels", [3, 64])
def test_distances_are_those_of_scikit_learn(channels):
    from sklearn.neighbors import NearestNeighbors

    gen = torch.Generator().manual_seed(channels)
    x = torch.randn(1, 500, channels, generator=gen)
    found = knn(x, torch.ones(1, 500, dtype=torch.bool), 20)[0]
    cloud = x[0].double().numpy()
    oracle = NearestNeighbors(n_neighbors=20, algorithm="brute").fit(cloud).kneighbors(cloud)[0]
    ours = np.sort(np.linalg.norm(cloud[found.numpy()] - cloud[:, None], axis=2), axis=1)
    np.testing.assert_allclose(ours, oracle, atol=1e-3)
