"""Sequence reconstruction: a weak decoder repeats the clip from one vector (Predict & Cluster, arXiv 1911.12409)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_skel.api import BackboneFactory, Batch, Layout
from ssl_skel.nn.gather import all_gather
from ssl_skel.nn.losses import masked_mse
from ssl_skel.nn.streams import Method, StreamConfig, StreamTask
from ssl_skel.nn.views import Clips, Recipe, augment


class ReconstructConfig(StreamConfig):
    """Keys of the reconstruction.

    Attributes:
        view: What the encoder sees and the decoder repeats.
        hidden: Units of the decoder.
        fixed: Whether the decoder's recurrent weights stay as they are initialised (the paper's FW).
        reverse: Whether the clip is repeated backwards.
    """

    view: Recipe = Recipe()
    hidden: int = Field(512, ge=1)
    fixed: bool = True
    reverse: bool = False


class ReconstructStream(Method):
    """Reconstruction on one modality."""

    def __init__(self, cfg: ReconstructConfig, backbone: BackboneFactory, layout: Layout) -> None:
        super().__init__(cfg, backbone, layout)
        self.cfg, self.encoder = cfg, backbone()
        self.start = nn.Linear(self.encoder.dim, cfg.hidden)
        self.decoder = nn.GRU(cfg.hidden, cfg.hidden, batch_first=True)
        self.decoder.requires_grad_(not cfg.fixed)
        self.out = nn.Linear(cfg.hidden, layout.persons * layout.num_joints * 3)

    def forward(self, views: Clips) -> dict[str, Tensor]:
        """Squared error of the valid joints."""
        xyz, valid = views
        code = self.start(self.embed(self.encoder, views))
        frames = xyz.shape[2]
        states, _ = self.decoder(code[:, None].expand(-1, frames, -1).contiguous(), code[None].contiguous())
        if self.cfg.reverse:
            states = states.flip(1)
        guess = self.out(states).view(len(xyz), frames, *xyz.shape[1::2], 3).transpose(1, 2)
        return {"loss": masked_mse(guess, xyz, valid, gather=all_gather)}


class Reconstruct(StreamTask):
    """Encoder-decoder reconstruction; the target is always the joints."""

    Config = ReconstructConfig
    method = ReconstructStream

    def views(self, batch: Batch, gen: torch.Generator) -> Any:
        """One draw of the recipe."""
        return augment(Clips(batch.xyz, batch.valid), gen, self.cfg.view, batch.layout)
