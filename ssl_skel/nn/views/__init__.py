"""Views (augmentations): each a function of a batch on its device, a generator and its strength.

Every clip of the batch gets its own draw, shared by its persons. Invalid points stay zero and invalid; a view
may make points invalid, never valid. `Recipe` and `augment` apply several by their strengths.
"""

from ssl_skel.nn.views.clips import Clips
from ssl_skel.nn.views.masking import axis_mask, joint_corrupt, joint_mask, time_mask
from ssl_skel.nn.views.modality import MODALITIES, Modality, modality
from ssl_skel.nn.views.noise import gaussian_blur, gaussian_noise
from ssl_skel.nn.views.recipe import Recipe, augment
from ssl_skel.nn.views.spatial import (
    index_flip,
    mirror,
    rotate_euler,
    rotate_one_sided,
    rotate_vertical,
    scale,
    shear,
)
from ssl_skel.nn.views.temporal import crop_pad, crop_resize, resample, speed, time_flip

__all__ = [
    "MODALITIES", "Clips", "Modality", "Recipe", "augment", "axis_mask", "crop_pad", "crop_resize",
    "gaussian_blur", "gaussian_noise", "index_flip", "joint_corrupt", "joint_mask", "mirror", "modality",
    "resample", "rotate_euler", "rotate_one_sided", "rotate_vertical", "scale", "shear", "speed", "time_flip",
    "time_mask",
]
