"""The transformer is one of scikit-learn's: its own checks, pipelines, grids, pickles."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ssl_skel
from ssl_skel.data.open import SplitView
from ssl_skel.encoding.transformer import IncompleteFrameWarning
from ssl_skel.errors import SkelError

SMALL = ssl_skel.untrained_encoder("stgcn", "nite_15", frames=8, config={"width": 4, "dim": 16})


@pytest.fixture(scope="module")
def data() -> SplitView:
    return ssl_skel.load_dataset("synthetic/xsub")


@pytest.mark.filterwarnings("ignore::ssl_skel.encoding.transformer.IncompleteFrameWarning")
@parametrize_with_checks([ssl_skel.SkeletonEncoder()])  # type: ignore[untyped-decorator]
def test_checks_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    """None is expected to fail. Skipped by scikit-learn: the array API without SCIPY_ARRAY_API; NaN (it is allowed)."""
    check(estimator)


def test_it_stands_in_a_pipeline_and_a_grid(data: SplitView) -> None:
    clips, labels = data.train.arrays()[::12], data.train.labels.numpy()[::12]
    encoder = ssl_skel.SkeletonEncoder(layout="kinect_v1_20")
    pipe = make_pipeline(encoder, StandardScaler(), LogisticRegression(max_iter=300))
    assert pipe.fit(clips, labels).score(clips, labels) > 0.5
    grid = GridSearchCV(pipe, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(clips, labels)
    assert grid.best_params_["logisticregression__C"] in (0.1, 1.0)


def test_it_gives_what_the_encoder_gives(data: SplitView) -> None:
    encoder = ssl_skel.untrained_encoder("stgcn", "kinect_v1_20", seed=3)
    part = data.test.at(data.test.positions[:6])
    wanted = encoder.encode(part)
    made = ssl_skel.SkeletonEncoder(layout="kinect_v1_20", random_state=3)
    assert np.array_equal(made.fit_transform(part), wanted)
    assert np.array_equal(made.transform(part.arrays()), wanted)
    assert list(made.get_feature_names_out())[:2] == ["skeletonencoder0", "skeletonencoder1"]
    assert np.array_equal(pickle.loads(pickle.dumps(made)).transform(part), wanted)


def test_a_row_of_a_table_is_a_flattened_clip() -> None:
    clips = np.random.default_rng(0).normal(size=(6, 5, 15, 3)).astype(np.float32)
    made = ssl_skel.SkeletonEncoder(SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = made.fit_transform(clips.reshape(6, -1))
    assert np.array_equal(found, SMALL.encode(clips))
    with pytest.warns(IncompleteFrameWarning, match="100 values is no whole number of frames of 15 joints"):
        made.fit_transform(clips.reshape(6, -1)[:, :100])
    with pytest.raises(ValueError, match="expecting 100 features"):
        made.transform(clips.reshape(6, -1))


def test_what_can_not_be_encoded() -> None:
    with pytest.raises(SkelError, match="holds no encoder"):
        ssl_skel.SkeletonEncoder("nowhere").fit([np.zeros((2, 15, 3))])
    with pytest.raises(SkelError, match="unknown layout 'kinect'"):
        ssl_skel.SkeletonEncoder(layout="kinect").fit([np.zeros((2, 15, 3))])
    with pytest.raises(SkelError, match="unknown stream 'joint'"):
        ssl_skel.SkeletonEncoder(SMALL, streams=("joint",)).fit([np.zeros((2, 15, 3))])
    with pytest.raises(SkelError, match="14 joints"):
        ssl_skel.SkeletonEncoder(SMALL).fit_transform([np.zeros((2, 14, 3))])
