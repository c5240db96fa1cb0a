"""Modalities (streams) derived from joints: joint, bone, motion."""

from __future__ import annotations

from typing import Literal, get_args

from ssl_skel.data.layouts import Layout
from ssl_skel.nn.losses.masked import motion_target
from ssl_skel.nn.views.clips import Clips, index_tensor

Modality = Literal["joint", "bone", "motion"]
MODALITIES: tuple[str, ...] = get_args(Modality)


def modality(clips: Clips, layout: Layout, name: Modality) -> Clips:
    """Derive a modality.

    Args:
        clips: Joints.
        layout: Gives the parent of each joint.
        name: ``joint``: as it is. ``bone``: joint - parent, the root minus itself. ``motion``:
            x[t + 1] - x[t], the last frame zero. Source: CrosSCLR.

    Returns:
        Clips of the same shape. A point is valid where both points that it is made of are; the last frame of
        ``motion``, which has no next one, stays as valid as it was, as the originals count it.
    """
    if name == "bone":
        parents = index_tensor(layout.parents, clips.xyz.device)
        both = clips.valid & clips.valid[..., parents]
        return Clips(clips.xyz - clips.xyz[..., parents, :], both).clean()
    if name == "motion":
        motion, both = motion_target(clips.xyz, clips.valid)
        both[:, :, -1] = clips.valid[:, :, -1]
        return Clips(motion, both)
    return clips
