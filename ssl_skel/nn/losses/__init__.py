"""Losses as pure functions, a family a file; `gather` (`nn.gather.all_gather`) joins processes."""

from ssl_skel.nn.losses.barlow import barlow_twins
from ssl_skel.nn.losses.dino import dino, koleo
from ssl_skel.nn.losses.info_nce import distribution_kl, info_nce, info_nce_logits
from ssl_skel.nn.losses.masked import (
    masked_mse,
    motion_target,
    normalise_target,
)
from ssl_skel.nn.losses.non_contrastive import byol, negative_cosine, simsiam
from ssl_skel.nn.losses.nt_xent import nt_xent
from ssl_skel.nn.losses.vicreg import vicreg

__all__ = [
    "barlow_twins", "byol", "dino", "distribution_kl", "info_nce", "info_nce_logits", "koleo", "masked_mse",
    "motion_target", "negative_cosine", "normalise_target", "nt_xent", "simsiam", "vicreg",
]
