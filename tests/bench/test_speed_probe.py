import pytest

from ssl_skel.bench import speed_probe
from ssl_skel.errors import ContractFailed

KEYS = {"what", "ours_s", "peer_s", "ratio", "cpu_ratio", "ours_peak_mb", "peer_peak_mb", "parts", "machine", "size"}


@pytest.mark.oracle
def test_linear_probe_reaches_the_loss_of_sklearn():
    got = speed_probe.linear_probe(train=300, dim=24, classes=4)
    assert set(got) == KEYS
    assert got["what"] == "linear-probe"
    assert got["ratio"] == pytest.approx(got["peer_s"] / got["ours_s"])
    assert got["parts"]["worst_excess"] <= 1e-4
    assert len(got["parts"]["loss_ours"]) == 11


@pytest.mark.oracle
def test_knn_finds_what_sklearn_finds():
    got = speed_probe.knn(train=400, test=60, dim=32, classes=4, repeats=2)
    assert set(got) == KEYS
    assert got["parts"]["differ"] == 0


def test_a_worse_loss_is_no_speed():
    with pytest.raises(ContractFailed):
        speed_probe._same_loss([1.0, 0.51], [1.0, 0.5])
