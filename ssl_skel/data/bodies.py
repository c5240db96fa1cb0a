"""Which bodies of an NTU recording are the persons of the clip, and in which order: the policy ``motion/1``.

The sensor gives bodies new ids when it loses them and takes furniture for bodies. The rules below, with their
constants, are the ones of the widest-used cleaning of NTU RGB+D (CTR-GCN's data preparation, which MAMP and its
successors train on), written from what they do:

1. Frames without a body are left out.
2. A body seen in at most 11 frames is noise.
3. A frame in which a body is wider than 0.8 of its height is noise; a body is dropped if at least 0.69754 of
   its frames are. Otherwise its motion is the smaller of that over all and over its other frames.
4. Bodies are ordered by motion: the variance of all its joint positions, summed over x, y and z, falling.
5. In this order, a body that shares no frame with the first person is the first person again under a new id;
   else the same is tried with the second person; else it is a third body and dropped.
6. Frames that are left without a person are left out.

Rules 2 to 5 apply only while more than one body is left, so no clip is emptied. Where the published code takes
the span from a body's first to its last frame as its frames, this one takes the frames themselves: a body that
vanishes and comes back stays where it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POLICY = "motion/1"
MAX_NOISE_FRAMES = 11
WIDTH_TO_HEIGHT = 0.8
MAX_NOISE_SHARE = 0.69754
PERSONS = 2


@dataclass(frozen=True, eq=False)
class Body:
    """One tracked body.

    Attributes:
        name: Body id as text.
        frames: (n,) int64, ascending, the frames it is seen in.
        xyz: (n, V, 3) float32 as recorded, also in joints that are not valid; finite.
        valid: (n, V) bool.
    """

    name: str
    frames: NDArray[np.int64]
    xyz: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """What the policy chose.

    Attributes:
        xyz: (M, T, V, 3) float32, the first person first.
        valid: (M, T, V) bool.
        dropped: (rule, body name, why) of each body left out.
        empty_frames: Frames left out because nobody was seen, before or after the choice.
    """

    xyz: NDArray[np.float32]
    valid: NDArray[np.bool_]
    dropped: tuple[tuple[str, str, str], ...]
    empty_frames: int


def select_persons(bodies: list[Body], frames: int) -> Selection:
    """Apply the policy.

    Args:
        bodies: In order of appearance; at least one.
        frames: T of the recording.

    Returns:
        The persons, and what each rule dropped.
    """
    dropped: list[tuple[str, str, str]] = []
    left = _drop_short(bodies, dropped)
    left, motion = _drop_wide(left, dropped)
    order = np.argsort([-value for value in motion], kind="stable")
    people = _join([left[position] for position in order], dropped)
    shape = len(people), frames, bodies[0].xyz.shape[1]
    xyz, valid = np.zeros((*shape, 3), np.float32), np.zeros(shape, bool)
    seen = np.zeros(frames, bool)
    for person, members in enumerate(people):
        for body in members:
            xyz[person, body.frames], valid[person, body.frames] = body.xyz, body.valid
            seen[body.frames] = True
    return Selection(xyz[:, seen], valid[:, seen], tuple(dropped), int((~seen).sum()))


def _drop_short(bodies: list[Body], dropped: list[tuple[str, str, str]]) -> list[Body]:
    if len(bodies) == 1:
        return bodies
    left = [body for body in bodies if len(body.frames) > MAX_NOISE_FRAMES]
    if not left:
        left = [max(bodies, key=lambda body: len(body.frames))]
    for body in bodies:
        if body not in left:
            dropped.append(("body-short", body.name, f"seen in {len(body.frames)} frames"))
    return left


def _drop_wide(bodies: list[Body], dropped: list[tuple[str, str, str]]) -> tuple[list[Body], list[float]]:
    """Rule 3; also the motion of each body that is left."""
    left, motion = list(bodies), {body.name: _motion(body.xyz) for body in bodies}
    for body in bodies:
        if len(left) == 1:
            break
        extent = np.ptp(body.xyz, axis=1)
        good = extent[:, 0] <= WIDTH_TO_HEIGHT * extent[:, 1]
        share = 1 - good.mean()
        if share >= MAX_NOISE_SHARE:
            left = [other for other in left if other is not body]
            dropped.append(("body-spread", body.name, f"wider than tall in {share:.0%} of its frames"))
        elif share > 0:
            motion[body.name] = min(motion[body.name], _motion(body.xyz[good]))
    return left, [motion[body.name] for body in left]


def _motion(xyz: NDArray[np.float32]) -> float:
    """Variance of all joint positions (n, V, 3) about their mean, summed over the axes."""
    return float(xyz.reshape(-1, 3).var(axis=0, dtype=np.float64).sum())


def _join(bodies: list[Body], dropped: list[tuple[str, str, str]]) -> list[list[Body]]:
    """Rule 5: the bodies that make up each person."""
    people: list[list[Body]] = []
    taken: list[set[int]] = []
    for body in bodies:
        frames = set(body.frames.tolist())
        for members, used in zip(people, taken):
            if not frames & used:
                members.append(body)
                used |= frames
                break
        else:
            if len(people) < PERSONS:
                people.append([body])
                taken.append(frames)
            else:
                dropped.append(("body-third", body.name, "a third body beside the two with more motion"))
    return people
