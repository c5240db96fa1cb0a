"""The synthetic datasets: fixed to the bit, sound as bodies, and neither trivial nor hopeless."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_skel.data.clip import check_clip
from ssl_skel.data.datasets.synthetic import SCRIPTS
from ssl_skel.data.layouts import LAYOUTS, get_layout
from ssl_skel.data.open import open_dataset, open_split
from ssl_skel.data.synthetic import make_clips, rest_pose

NAMES = ("synthetic", "synthetic-2p", "synthetic-3p")
DIGESTS = {
    "synthetic": "43658eec2a6a99c78f263486c77690c1567bcf94b7a1277d283e7cc883095a84",
    "synthetic-2p": "50563227a08b50ad28d5856799c49ed17bb4faa9f5c76cd05453cacb8ae2d956",
    "synthetic-3p": "7cf07ee8fb3f6b5fb329e044fd4d58dd6dbea3438ec3cfc24d4d08007524a647",
}


@pytest.fixture(scope="module")
def stores():
    return {name: open_dataset(name).store for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_on_every_machine(stores, name):
    assert stores[name].digest == DIGESTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_counts(stores, name):
    store = stores[name]
    persons = {"synthetic": 1, "synthetic-2p": 2, "synthetic-3p": 3}[name]
    index = store.index
    assert len(index) == 480
    assert np.bincount(index["label"]).tolist() == [60] * 8
    assert np.bincount(index["subject"])[1:].tolist() == [48] * 10
    assert np.bincount(index["view"])[1:].tolist() == [160] * 3
    assert index["num_tracks"].max() == persons
    assert set(index["num_tracks"].tolist()) == set(range(1, persons + 1))
    assert 28 <= index["frames"].min() < index["frames"].max() <= 76
    for clip in store.clips():
        check_clip(clip, store.layout)


def test_persons_do_not_give_the_class_away(stores):
    """No class is known from the number of persons alone, unless it needs them all."""
    index = stores["synthetic-2p"].index
    alone = set(index["label"][index["num_tracks"] == 1].tolist())
    together = set(index["label"][index["num_tracks"] == 2].tolist())
    assert alone == {0, 1, 2}
    assert together == set(range(8))


def test_further_persons_come_late_and_leave_early(stores):
    store = stores["synthetic-3p"]
    later = store.tracks[store.tracks["person"] > 0]
    frames = store.index["frames"][later["clip"]]
    assert (later["start"] > 0).mean() > 0.1
    assert (later["start"] + later["length"] < frames).mean() > 0.1
    assert (store.valid != (1 << 15) - 1).mean() > 0.001


@pytest.mark.parametrize("name", NAMES)
def test_bones_keep_their_length(stores, name):
    """Up to noise, a subject's bones have one length in all its clips."""
    store = stores[name]
    children, parents = zip(*store.layout.bones)
    first = store.tracks[store.tracks["person"] == 0]
    lengths = {}
    for track in first:
        rows = slice(int(track["offset"]), int(track["offset"] + track["length"]))
        seen = store.valid[rows] == (1 << store.layout.num_joints) - 1
        xyz = store.rows[rows][seen]
        bones = np.linalg.norm(xyz[:, list(children)] - xyz[:, list(parents)], axis=2).mean(0)
        lengths.setdefault(int(store.index["subject"][track["clip"]]), []).append(bones)
    spread = np.mean([np.std(found, axis=0).mean() for found in lengths.values()])
    between = np.std([np.mean(found, axis=0) for found in lengths.values()], axis=0).mean()
    assert spread < 0.01 < between


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rest_pose_is_a_person(layout):
    layout = get_layout(layout)
    rest = rest_pose(layout)
    joint = layout.joints.index
    assert rest[joint("head"), 1] == rest[:, 1].max()
    assert rest[joint("left_foot"), 1] == rest[:, 1].min()
    np.testing.assert_allclose(rest[list(layout.mirror)] * [-1, 1, 1], rest)
    assert rest[joint("left_shoulder"), 0] < 0 < rest[joint("right_shoulder"), 0]


def test_another_seed_is_another_set(stores):
    layout = stores["synthetic"].layout
    seed, actions = SCRIPTS["synthetic"]
    first, again, other = (next(iter(make_clips(layout, actions, number))) for number in (seed, seed, seed + 1))
    np.testing.assert_array_equal(first.xyz, again.xyz)
    assert first.xyz.shape != other.xyz.shape or not np.array_equal(first.xyz, other.xyz)


def cloud_features(part):
    """An untrained network of points: random layers, maximum over all points."""
    gen = torch.Generator().manual_seed(0)
    first, second = torch.randn(3, 32, generator=gen), torch.randn(32, 256, generator=gen) / 32**0.5
    shift = 0.3 * torch.randn(32, generator=gen)
    found = []
    for index in torch.arange(len(part)).split(48):
        batch = part.clips.sample(index, 12, "centred")
        points = torch.relu(torch.relu(batch.xyz.flatten(1, 3) @ first + shift) @ second)
        found.append(points.masked_fill(~batch.valid.flatten(1)[..., None], -1).amax(1))
    return torch.cat(found).numpy()


def motion_features(part):
    """What gives the classes away: how far, how fast and in which phase limbs move, seen from the body."""
    batch = part.clips.sample(torch.arange(len(part)), 32, "centred")
    names = ("left_hand", "right_hand", "left_foot", "right_foot", "head")
    joints = [part.clips.layout.joints.index(name) for name in names]
    track = batch.xyz[:, 0][:, :, joints]
    track = track - track.mean(1, keepdim=True)
    speed = track.diff(dim=1).norm(dim=3)
    height = track[..., 1]
    between = (height[:, :, :4, None] * height[:, :, None, :4]).mean(1).flatten(1)
    return torch.cat([speed.mean(1), speed.std(1), track.std(1).flatten(1), 30 * between], 1).numpy()


def accuracy(view, features):
    scale = StandardScaler().fit(features(view.train))
    model = LogisticRegression(C=0.05, max_iter=500)
    model.fit(scale.transform(features(view.train)), view.train.labels.numpy())
    return model.score(scale.transform(features(view.test)), view.test.labels.numpy())


def test_an_untrained_network_is_well_under_the_top_and_knowledge_helps():
    view = open_split("synthetic", "xsub")
    floor = accuracy(view, cloud_features)
    assert 0.35 < floor < 0.75
    assert accuracy(view, motion_features) > floor + 0.1


@pytest.mark.parametrize("name", NAMES[1:])
def test_floor_with_several_persons(name):
    assert 0.3 < accuracy(open_split(name, "xsub"), cloud_features) < 0.9
