"""A list of views with strengths, as a config key of a plugin."""

from __future__ import annotations

import torch
from pydantic import Field

from ssl_skel.api import TaskConfig
from ssl_skel.data.layouts import Layout
from ssl_skel.nn.views.clips import Clips, chance, choose
from ssl_skel.nn.views.masking import axis_mask, joint_corrupt, joint_mask, time_mask
from ssl_skel.nn.views.noise import gaussian_blur, gaussian_noise
from ssl_skel.nn.views.spatial import (
    index_flip,
    mirror,
    rotate_euler,
    rotate_one_sided,
    rotate_vertical,
    scale,
    shear,
)
from ssl_skel.nn.views.temporal import crop_pad, crop_resize, speed, time_flip

Share = tuple[float, float]


class Recipe(TaskConfig):
    """Views in the order in which they are applied; zero or None leaves one out.

    Attributes:
        crop_pad: Ratio of the reflecting temporal crop.
        crop_resize: Least and largest share of the temporal crop-and-resize.
        min_frames: Least window of `crop_resize`.
        speed: Least and largest playing speed.
        time_flip: Probability.
        shear: Amplitude.
        index_flip: Probability of swapping left and right indices only.
        mirror: Probability of true mirroring.
        rotate_one_sided: Largest angle in degrees of AimCLR's rotation.
        rotate_euler: Largest angle in degrees about each axis.
        rotate_vertical: Largest angle in degrees about the vertical.
        scale: Least and largest factor.
        noise: Probability of Gaussian noise of `noise_std`.
        noise_std: In units of the data.
        blur: Probability of Gaussian blur along time.
        axis_mask: Probability.
        joint_mask: Share of the joints that are hidden.
        time_mask: Share of the frames that are hidden.
        shear_or_corrupt: ISC's spatial view, for each clip either a shear of amplitude 1 or the corruption of this
            share of the joints.
    """

    crop_pad: int = Field(0, ge=0)
    crop_resize: Share | None = None
    min_frames: int = Field(2, ge=2)
    speed: Share | None = None
    time_flip: float = Field(0, ge=0, le=1)
    shear: float = Field(0, ge=0)
    index_flip: float = Field(0, ge=0, le=1)
    mirror: float = Field(0, ge=0, le=1)
    rotate_one_sided: float = Field(0, ge=0, le=180)
    rotate_euler: float = Field(0, ge=0, le=180)
    rotate_vertical: float = Field(0, ge=0, le=180)
    scale: Share | None = None
    noise: float = Field(0, ge=0, le=1)
    noise_std: float = Field(0.01, ge=0)
    blur: float = Field(0, ge=0, le=1)
    axis_mask: float = Field(0, ge=0, le=1)
    joint_mask: float = Field(0, ge=0, lt=1)
    time_mask: float = Field(0, ge=0, lt=1)
    shear_or_corrupt: float = Field(0, ge=0, le=1)


def _temporal(clips: Clips, gen: torch.Generator, recipe: Recipe) -> Clips:
    if recipe.crop_pad:
        clips = crop_pad(clips, gen, recipe.crop_pad)
    if recipe.crop_resize:
        clips = crop_resize(clips, gen, *recipe.crop_resize, min_frames=recipe.min_frames)
    if recipe.speed:
        clips = speed(clips, gen, *recipe.speed)
    if recipe.time_flip:
        clips = time_flip(clips, gen, recipe.time_flip)
    return clips


def _spatial(clips: Clips, gen: torch.Generator, recipe: Recipe, layout: Layout) -> Clips:
    if recipe.shear:
        clips = shear(clips, gen, recipe.shear)
    if recipe.index_flip:
        clips = index_flip(clips, gen, layout, recipe.index_flip)
    if recipe.mirror:
        clips = mirror(clips, gen, layout, recipe.mirror)
    if recipe.rotate_one_sided:
        clips = rotate_one_sided(clips, gen, recipe.rotate_one_sided)
    if recipe.rotate_euler:
        clips = rotate_euler(clips, gen, recipe.rotate_euler)
    if recipe.rotate_vertical:
        clips = rotate_vertical(clips, gen, layout, recipe.rotate_vertical)
    if recipe.scale:
        clips = scale(clips, gen, *recipe.scale)
    return clips


def _disturb(clips: Clips, gen: torch.Generator, recipe: Recipe) -> Clips:
    frames, joints = clips.xyz.shape[2:4]
    if recipe.noise:
        clips = gaussian_noise(clips, gen, recipe.noise_std, recipe.noise)
    if recipe.blur:
        clips = gaussian_blur(clips, gen, p=recipe.blur)
    if recipe.axis_mask:
        clips = axis_mask(clips, gen, recipe.axis_mask)
    if recipe.shear_or_corrupt:
        corrupted = joint_corrupt(clips, gen, round(recipe.shear_or_corrupt * joints))
        clips = choose(chance(clips, gen, 0.5), shear(clips, gen, 1.0), corrupted)
    if recipe.joint_mask:
        clips = joint_mask(clips, gen, int(recipe.joint_mask * joints))
    if recipe.time_mask:
        clips = time_mask(clips, gen, int(recipe.time_mask * frames))
    return clips


def augment(clips: Clips, gen: torch.Generator, recipe: Recipe, layout: Layout) -> Clips:
    """Apply a recipe: temporal views, then spatial ones, then disturbances.

    Args:
        clips: To augment; not changed.
        gen: On the device of the clips.
        recipe: Views and strengths.
        layout: For mirroring and the vertical.
    """
    clips = _temporal(clips, gen, recipe)
    clips = _spatial(clips, gen, recipe, layout)
    return _disturb(clips, gen, recipe)
