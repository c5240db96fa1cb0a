"""A frozen encoder as a scikit-learn transformer, for pipelines, grid searches and whatever else takes one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_skel.data.layouts import Layout
from ssl_skel.data.open import Part
from ssl_skel.encoding.encoder import Encoder, untrained_encoder
from ssl_skel.encoding.files import load_encoder


class IncompleteFrameWarning(UserWarning):
    """The rows of a table do not hold whole frames, so perhaps another layout is meant."""


class SkeletonEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Clips to features of a frozen encoder. Nothing is learned: `fit` loads the encoder.

    ``X`` is a list of clips, each (T, V, 3) or (M, T, V, 3) in metres, NaN where a joint was not seen; one array with
    the clips first; a part of a split; or, for tools that know only tables, one flattened (T, V, 3) clip a row.

    Args:
        encoder: Folder that `load_encoder` takes, or an `Encoder`; None for an untrained ST-GCN, the floor.
        layout: Joints of an untrained encoder.
        streams: Encoders whose vectors are joined; None for all.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; an `Encoder` stays where it is.
        random_state: Seed of the weights of an untrained encoder.

    Attributes:
        encoder_: The `Encoder` in use.
        n_features_in_: Values of a row, where a table was fitted.
    """

    def __init__(self, encoder: str | Path | Encoder | None = None, *, layout: str = "kinect_v2_25",
                 streams: tuple[str, ...] | None = None, device: str = "cpu", random_state: int | None = 0) -> None:
        self.encoder = encoder
        self.layout = layout
        self.streams = streams
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> SkeletonEncoder:
        """Load the encoder and check that these clips can be encoded.

        Raises:
            SkelError: If the encoder can't be loaded.
            ValueError: If a table is none.
        """
        chosen = self.encoder
        if chosen is None:
            chosen = untrained_encoder(layout=self.layout, seed=self.random_state or 0, device=self.device)
        elif not isinstance(chosen, Encoder):
            chosen = load_encoder(chosen, device=self.device)
        self.encoder_ = chosen.only(self.streams) if self.streams else chosen
        self._n_features_out = self.encoder_.dim
        _clips(self, X, self.encoder_.layout, reset=True)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode clips.

        Returns:
            (n, D) float32.

        Raises:
            NotFittedError: Before `fit`.
            BadData: If a clip has a wrong shape, an infinite coordinate, or nothing seen in it.
        """
        check_is_fitted(self)
        return self.encoder_.encode(_clips(self, X, self.encoder_.layout, reset=False))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may expect: NaN is allowed, features are float32 whatever comes in."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _clips(estimator: SkeletonEncoder, X: Any, layout: Layout, reset: bool) -> Any:
    """Clips as an `Encoder` takes them; a table is checked by scikit-learn and cut into frames."""
    if isinstance(X, Part) or _dimensions(X[0] if isinstance(X, list | tuple) and len(X) else X) > 2:
        return X
    table = validate_data(estimator, X, reset=reset, dtype=np.float32, ensure_all_finite="allow-nan")
    size = 3 * layout.num_joints
    rest = -table.shape[1] % size
    if rest:
        warnings.warn(f"a row of {table.shape[1]} values is no whole number of frames of {layout.num_joints} joints; "
                      "the rest of its last frame counts as zero", IncompleteFrameWarning, stacklevel=3)
    padded = np.pad(table, ((0, 0), (0, rest)))
    return padded.reshape(len(table), -1, layout.num_joints, 3)


def _dimensions(item: Any) -> int:
    return int(np.ndim(item)) if isinstance(item, list | tuple) else int(getattr(item, "ndim", 0))
