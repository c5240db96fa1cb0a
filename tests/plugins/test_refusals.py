"""What a plugin or backbone of the repository can't do is refused when it is planned, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_skel.bench.resolve import Resolved, Settings, resolve
from ssl_skel.data.layouts import get_layout
from ssl_skel.errors import SkelError
from ssl_skel.registry import discover
from ssl_skel.schema import Suite, SuiteEntry


def resolved(plugin: str, backbone: str | None = None, persons: int = 1, config: dict[str, Any] | None = None,
             keys: dict[str, Any] | None = None, **train: Any) -> Resolved:
    entry = SuiteEntry(plugin=plugin, backbone_name=backbone, config=config or {}, backbone=keys or {}, train=train)
    suite = Suite(title="t", datasets=("sbu",), evaluators=("knn",), entries=(entry,))
    return resolve(discover(), suite, entry, "synthetic", get_layout("nite_15", persons), Settings())


QUEUED = ("moco", "aimclr", "crossclr", "cmd", "isc")
PAIRED = ("simclr", "byol", "simsiam", "barlow-twins", "vicreg", "dino")


@pytest.mark.parametrize("plugin", QUEUED)
def test_a_queue_smaller_than_the_batch(plugin: str) -> None:
    small = {"queue": 32, **({"topk": 8} if plugin == "cmd" else {})}
    with pytest.raises(SkelError, match=r"a queue of 32 is smaller than the batch of 33\. Set a larger queue"):
        resolved(plugin, config=small, batch=33)
    assert resolved(plugin, config=small, batch=32)
    assert resolved(plugin, config=small, batch=20)  # wraps around


@pytest.mark.parametrize("plugin", ["aimclr", "crossclr", "cmd"])
def test_more_neighbours_than_the_queue_holds(plugin: str) -> None:
    with pytest.raises(SkelError, match="topk = 65 neighbours among a queue of 64"):
        resolved(plugin, config={"queue": 64, "topk": 65}, batch=8)
    assert resolved(plugin, config={"queue": 64, "topk": 64}, batch=8)


@pytest.mark.parametrize("plugin", PAIRED)
def test_a_batch_of_one_where_statistics_need_more(plugin: str) -> None:
    with pytest.raises(SkelError, match=r"a batch of 1 is smaller than the plugin's least, 2\. Raise train\.batch"):
        resolved(plugin, batch=1)
    with pytest.raises(SkelError, match="a batch of 1 is smaller"):
        resolved(plugin, batch=4, accumulate=4)


@pytest.mark.parametrize("plugin", ["mae", "mamp"])
def test_a_backbone_without_tokens(plugin: str) -> None:
    with pytest.raises(SkelError, match=rf"'{plugin}' does not support backbone 'stgcn'\. It takes transformer"):
        resolved(plugin, backbone="stgcn")


@pytest.mark.parametrize("plugin", ["simclr", "moco", "crossclr", "cmd", "reconstruct", "order"])
def test_motion_of_a_single_frame(plugin: str) -> None:
    streams = {"streams": ["joint", "motion"], **({"segments": 2} if plugin == "order" else {})}
    with pytest.raises(SkelError, match="the stream 'motion' needs two frames"):
        resolved(plugin, config=streams, frames=1)
    assert resolved(plugin, config=streams, frames=2)


@pytest.mark.parametrize("plugin", ["simclr", "colorization", "random"])
def test_more_neighbours_than_points_in_a_cloud(plugin: str) -> None:
    with pytest.raises(SkelError, match=r"k = 61 neighbours among the 60 points of a cloud \(2 x 2 x 15 persons"):
        resolved(plugin, "dgcnn", persons=2, keys={"k": 61}, frames=2)
    assert resolved(plugin, "dgcnn", persons=2, keys={"k": 60}, frames=2)


def test_a_stream_that_the_clips_do_not_have() -> None:
    with pytest.raises(SkelError, match="these clips hold one person"):
        resolved("colorization", config={"streams": ["person"]})
    with pytest.raises(SkelError, match="streams"):
        resolved("simclr", config={"streams": ["depth"]})


def test_lengths_that_leave_nothing_to_predict() -> None:
    with pytest.raises(SkelError, match="2 frames can't be cut into 3 segments"):
        resolved("order", frames=2)
    with pytest.raises(SkelError, match="motion over 4 frames needs more than 4 frames"):
        resolved("mamp", config={"stride": 4}, frames=4)
    assert resolved("mamp", config={"stride": 4}, frames=5)


def test_wrong_keys_of_the_partner_of_isc() -> None:
    with pytest.raises(SkelError, match=r"partner_config of agcn: unknown key 'widht'\. Did you mean 'width'"):
        resolved("isc", config={"partner_config": {"widht": 3}})
