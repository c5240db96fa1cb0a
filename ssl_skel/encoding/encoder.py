"""Frozen encoders with all that they need to take raw clips: layout, preprocessing, frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_skel.api import Backbone
from ssl_skel.bench.features import encode
from ssl_skel.data.layouts import Layout, get_layout
from ssl_skel.data.open import Part
from ssl_skel.data.preprocess import get_family
from ssl_skel.encoding.card import EncoderCard
from ssl_skel.encoding.clips import Arrays, clips_of
from ssl_skel.errors import UnknownName, UsageMistake
from ssl_skel.registry import discover
from ssl_skel.seed import derive
from ssl_skel.yamlio import validate


@dataclass(frozen=True)
class Encoder:
    """Frozen encoders of one pretraining. Clips go in as arrays or as a part of a split, features come out.

    Attributes:
        networks: Encoder (stream) name -> network, in evaluation mode.
        layout: Joints that they take.
        frames: T, to which every clip is resampled.
        preprocessing: Family that clips go through first.
        device: Where they are.
        card: What is known of them; None for networks made in this process.
    """

    networks: Mapping[str, Backbone] = field(repr=False)
    layout: Layout = field(repr=False)
    frames: int
    preprocessing: str = "first-frame"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    card: EncoderCard | None = field(default=None, repr=False)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the encoders, in the order in which their features stand."""
        return tuple(self.networks)

    @property
    def dim(self) -> int:
        """D, length of the vector that `encode` gives for a clip."""
        return sum(network.dim for network in self.networks.values())

    def features(self, clips: Part | Arrays) -> dict[str, Tensor]:
        """Encode clips, stream by stream.

        Args:
            clips: A part of a split (``load_dataset(...).train``), which is opened with this encoder's own
                preprocessing and frames; or n arrays of positions in metres, each (T, V, 3) or (M, T, V, 3), where NaN
                marks a joint that was not seen.

        Returns:
            Encoder name -> (n, D) float32 on the CPU.

        Raises:
            UsageMistake: If the part has other joints.
            BadData: If an array can't be a clip; see `clips_of`.
        """
        if isinstance(clips, Part):
            if clips.layout.name != self.layout.name:
                raise UsageMistake(f"the encoder takes {self.layout.name}, the dataset has {clips.layout.name}")
            source = clips.reopened(get_family(self.preprocessing), self.frames, self.device).clips
        else:
            source = clips_of(clips, self.layout, self.preprocessing, self.frames, self.device)
        return encode(self.networks, source)

    def encode(self, clips: Part | Arrays, streams: Sequence[str] = ()) -> NDArray[np.float32]:
        """Encode clips to one vector each.

        Args:
            clips: As in `features`.
            streams: Encoders whose vectors are joined; all by default.

        Returns:
            (n, D) float32.

        Raises:
            UnknownName: For a stream that there is not.
        """
        found = self.only(streams).features(clips) if streams else self.features(clips)
        return torch.cat(list(found.values()), dim=1).numpy()

    def only(self, streams: Sequence[str]) -> Encoder:
        """The same with these encoders only.

        Raises:
            UnknownName: For a stream that there is not.
        """
        for name in streams:
            if name not in self.networks:
                raise UnknownName("stream", name, self.networks)
        chosen = {name: self.networks[name] for name in streams}
        return Encoder(chosen, self.layout, self.frames, self.preprocessing, self.device, self.card)


def untrained_encoder(backbone: str = "stgcn", layout: str = "kinect_v2_25", *, frames: int = 64,
                      preprocessing: str = "first-frame", config: Mapping[str, object] | None = None, seed: int = 0,
                      device: torch.device | str = "cpu", plugins: Sequence[str] = ()) -> Encoder:
    """Make an encoder that has learned nothing: the floor that a pretrained one has to beat.

    Args:
        backbone: Registered name.
        layout: Joints: ``kinect_v2_25``, ``kinect_v1_20`` or ``nite_15``.
        frames: T, to which every clip is resampled.
        preprocessing: Family.
        config: Keys of the backbone.
        seed: Of its weights; the weights are those of the plugin ``random`` with the same keys and seed.
        device: Where it goes.
        plugins: Folders with further backbones, as with ``--plugins``.

    Raises:
        SkelError: For a name, key or value that does not exist.
    """
    get_family(preprocessing)
    joints, entry = get_layout(layout), discover(tuple(plugins)).get("backbones", backbone)
    made: type[Backbone] = entry.load()
    keys = validate(made.Config, {**entry.config, **(config or {})}, f"backbone {backbone}")
    made.check(keys, joints, frames)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        network = made(keys, joints)
    network.eval().requires_grad_(False).to(device)
    return Encoder({"encoder": network}, joints, frames, preprocessing, torch.device(device))
