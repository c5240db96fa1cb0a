"""Synthetic skeleton actions: articulated bodies that perform known motions, made in memory in a second.

A body is a rest pose turned by angles over time: torso about the hips, arms about the shoulders, forearms
about the elbows, legs likewise. A class says which limbs move, in which plane, how often, in which phase and
where the body goes; a subject has bone lengths, speed, range and posture; a view is a rotation. Sway, noise,
untracked joints and random phases, lengths and ranges hide the class from a glance.

Everything is drawn from one seeded numpy generator, computed in float64 and rounded to 1/4096 m, so that the
clips, and with them the dataset's digest, are the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.card import DatasetCard
from ssl_skel.data.clip import RawClip
from ssl_skel.data.layouts import Layout
from ssl_skel.data.memory import memory_store
from ssl_skel.data.store import Store
from ssl_skel.firewall import OPENED

Array = NDArray[np.float64]

VERSION = 1
SUBJECTS, VIEWS, REPETITIONS = 10, 3, 2
FRAME_RATE = 20.0
GRID = 4096.0
NOISE = 0.012
VIEW_ANGLES = (-0.6, 0.6, 0.0)
BYSTANDER = 0.5
LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg")

_MIDDLE = {"base_of_spine": 0.95, "hip_center": 0.95, "middle_of_spine": 1.15, "spine": 1.15, "torso": 1.15,
           "spine_shoulder": 1.42, "shoulder_center": 1.42, "neck": 1.48, "head": 1.68}
_RIGHT = {"shoulder": (0.18, 1.40, 0.0), "elbow": (0.21, 1.12, 0.0), "wrist": (0.22, 0.87, 0.0),
          "hand": (0.22, 0.79, 0.0), "hand_tip": (0.22, 0.71, 0.0), "thumb": (0.19, 0.78, -0.04),
          "hip": (0.10, 0.92, 0.0), "knee": (0.11, 0.50, 0.0), "ankle": (0.11, 0.10, 0.0),
          "foot": (0.11, 0.04, -0.10)}
_UPPER, _LOWER = {"arm": ("shoulder", "elbow"), "leg": ("hip", "knee")}, {"arm": "elbow", "leg": "knee"}


@dataclass(frozen=True)
class Swing:
    """A periodic turn of a limb or of the torso.

    Attributes:
        part: One of `LIMBS`, or ``torso``.
        axis: 0 turns forward and back, 2 sideways.
        size: Range in radians; its sign is the direction.
        rate: Cycles a second.
        phase: In cycles, against the body's other swings.
        bend: Share of the turn that elbow or knee add.
    """

    part: str
    axis: int
    size: float
    rate: float = 0.8
    phase: float = 0.0
    bend: float = 0.0


@dataclass(frozen=True)
class Role:
    """What one person does: swings, and the way it goes in m/s along x and z."""

    swings: tuple[Swing, ...]
    way: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Action:
    """A class: its name and what each person does."""

    name: str
    roles: tuple[Role, ...]


@dataclass(frozen=True)
class _Body:
    """A subject: rest pose (V, 3), speed and range factors, posture angles per limb."""

    rest: Array
    speed: float
    size: float
    posture: Array


def make_clips(layout: Layout, actions: Sequence[Action], seed: int) -> Iterator[RawClip]:
    """Make all clips of a synthetic dataset.

    Args:
        layout: With the largest number of persons in an action.
        actions: The classes.
        seed: Of everything.

    Yields:
        Clips named ``cCC_sSS_eEE_vV``, for every class, subject, repetition and view.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    bodies = [_make_body(rng, layout) for _ in range(SUBJECTS)]
    for label, action in enumerate(actions):
        for subject in range(SUBJECTS):
            for repetition in range(REPETITIONS):
                for view in range(VIEWS):
                    frames = int(rng.integers(28, 76))
                    roles = _with_bystanders(rng, action.roles, layout.persons)
                    cast = [bodies[(subject + 3 * person) % SUBJECTS] for person in range(len(roles))]
                    xyz = _record(rng, _perform(rng, layout, roles, cast, frames), view)
                    name = f"c{label + 1:02d}_s{subject + 1:02d}_e{repetition + 1:02d}_v{view + 1}"
                    yield RawClip(name, xyz, _seen(rng, xyz.shape[:3]), label, subject + 1, view + 1, 0,
                                  repetition + 1)


def make_store(card: DatasetCard) -> Store:
    """Make the store of a synthetic dataset in memory, once a process."""
    sys.audit(OPENED, card.name)
    return _make_store(card.name, card.layout, card.persons)


@lru_cache(maxsize=4)
def _make_store(name: str, layout: str, persons: int) -> Store:
    from ssl_skel.data.datasets.synthetic import SCRIPTS

    seed, actions = SCRIPTS[name]
    card = DatasetCard(name, name, layout, persons, tuple(action.name for action in actions), {})
    return memory_store(card, make_clips(card.get_layout(), actions, seed), f"synthetic/{VERSION}/{seed}")


def rest_pose(layout: Layout) -> Array:
    """(V, 3) metres: upright, arms down, facing the camera (which looks along +z), x to the right."""
    pose = np.zeros((layout.num_joints, 3))
    for joint, name in enumerate(layout.joints):
        side, _, kind = name.partition("_")
        if name in _MIDDLE:
            pose[joint] = 0.0, _MIDDLE[name], 0.0
        else:
            x, y, z = _RIGHT[kind]
            pose[joint] = (-x if side == "left" else x), y, z
    return pose


def _make_body(rng: np.random.Generator, layout: Layout) -> _Body:
    rest = rest_pose(layout) * rng.uniform(0.85, 1.15)
    rest[:, 1] *= rng.uniform(0.95, 1.05)
    rest[:, 0] *= rng.uniform(0.85, 1.15)
    posture = rng.normal(0.0, 0.12, (len(LIMBS) + 1, 2))
    return _Body(rest, rng.uniform(0.75, 1.3), rng.uniform(0.7, 1.25), posture)


def _with_bystanders(rng: np.random.Generator, roles: Sequence[Role], persons: int) -> list[Role]:
    """Let people stand by, so that the number of persons does not give the class away."""
    cast = list(roles)
    while len(cast) < persons and rng.uniform() < BYSTANDER:
        cast.append(Role(()))
    return cast


def _perform(rng: np.random.Generator, layout: Layout, roles: Sequence[Role], cast: Sequence[_Body],
             frames: int) -> Array:
    """(M, T, V, 3): everybody on stage, persons standing beside one another."""
    start = rng.uniform(0.0, 1.0)
    stage = []
    for person, (role, body) in enumerate(zip(roles, cast)):
        angles = _angles(rng, role, body, frames, start)
        xyz = _pose(layout, body.rest, angles)
        seconds = np.arange(frames) / FRAME_RATE
        beside = 0.9 * (person - (len(roles) - 1) / 2) + rng.normal(0.0, 0.12)
        xyz[..., 0] += (beside + role.way[0] * body.speed * seconds)[:, None]
        xyz[..., 2] += (role.way[1] * body.speed * seconds + rng.normal(0.0, 0.1))[:, None]
        stage.append(xyz)
    return np.stack(stage)


def _angles(rng: np.random.Generator, role: Role, body: _Body, frames: int, start: float) -> dict[str, Array]:
    """(T, 3) per part: forward, sideways and bending angle; swings over posture and slow sway."""
    seconds = np.arange(frames) / FRAME_RATE
    speed, size = body.speed * rng.uniform(0.85, 1.2), body.size * rng.uniform(0.75, 1.25)
    angles = {}
    for number, part in enumerate((*LIMBS, "torso")):
        turn = np.zeros((frames, 3))
        for column in range(2):
            wave = np.sin(2 * np.pi * (rng.uniform(0.1, 0.5) * seconds + rng.uniform()))
            scale = 0.3 if part == "torso" else 1.0
            turn[:, column] = scale * (body.posture[number, column] + rng.normal(0.0, 0.13) + 0.14 * wave)
        turn[:, 2] = abs(rng.normal(0.15, 0.1))
        angles[part] = turn
    for swing in role.swings:
        cycle = np.sin(2 * np.pi * (swing.rate * speed * seconds + start + swing.phase))
        turn = swing.size * size * (0.5 + 0.5 * cycle)
        angles[swing.part][:, swing.axis // 2] += (1.0 - swing.bend) * turn
        angles[swing.part][:, 2] += swing.bend * np.abs(turn)
    return angles


def _pose(layout: Layout, rest: Array, angles: dict[str, Array]) -> Array:
    """(T, V, 3) by forward kinematics: torso about the hips, limbs about shoulder or hip, elbow or knee."""
    joints = layout.joints
    frames = len(angles["torso"])
    xyz = np.broadcast_to(rest, (frames, *rest.shape)).copy()
    for limb in LIMBS:
        side, kind = limb.split("_")
        upper, lower = (joints.index(f"{side}_{name}") for name in _UPPER[kind])
        part = next(part for part in layout.parts if lower in part)
        beyond = [joint for joint in part if joint not in (upper, lower)]
        outward = -1.0 if side == "left" else 1.0
        first = _turn_x(angles[limb][:, 0]) @ _turn_z(outward * angles[limb][:, 1])
        fold = _turn_x(angles[limb][:, 2] * (1.0 if kind == "arm" else -1.0))
        xyz[:, lower] = xyz[:, upper] + first @ (rest[lower] - rest[upper])
        second = (first @ fold).transpose(0, 2, 1)
        xyz[:, beyond] = xyz[:, None, lower] + (rest[beyond] - rest[lower]) @ second
    hips = np.array([0.0, 0.95 * rest[:, 1].max() / 1.68, 0.0])
    legs = {joint for part in layout.parts[3:] for joint in part}
    above = [joint for joint in range(layout.num_joints) if joint not in legs]
    bow = _turn_x(-angles["torso"][:, 0]) @ _turn_z(angles["torso"][:, 1])
    xyz[:, above] = hips + (xyz[:, above] - hips) @ bow.transpose(0, 2, 1)
    return xyz


def _turn_x(angle: Array) -> Array:
    """(T, 3, 3) rotations that lift what hangs down towards the camera (-z)."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.zeros((len(angle), 3, 3))
    turn[:, 0, 0], turn[:, 1, 1], turn[:, 2, 2] = 1.0, cos, cos
    turn[:, 1, 2], turn[:, 2, 1] = -sin, sin
    return turn


def _turn_z(angle: Array) -> Array:
    """(T, 3, 3) rotations that lift what hangs down towards +x."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.zeros((len(angle), 3, 3))
    turn[:, 2, 2], turn[:, 0, 0], turn[:, 1, 1] = 1.0, cos, cos
    turn[:, 0, 1], turn[:, 1, 0] = -sin, sin
    return turn


def _record(rng: np.random.Generator, xyz: Array, view: int) -> NDArray[np.float32]:
    """Look at the stage from a view, with sensor noise; rounded to the grid."""
    angle = VIEW_ANGLES[view] + rng.normal(0.0, 0.12)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = (xyz[..., axis] for axis in range(3))
    seen = np.stack([cos * x + sin * z, y - 0.9, cos * z - sin * x + rng.uniform(2.3, 3.6)], axis=-1)
    seen += rng.normal(0.0, NOISE, seen.shape)
    return (np.round(seen * GRID) / GRID).astype(np.float32)


def _seen(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(M, T, V): a few joints untracked for a while; further persons may come late or leave early."""
    persons, frames, joints = shape
    valid = np.ones(shape, bool)
    for person in range(persons):
        if rng.uniform() < 0.15:
            begin = int(rng.integers(0, frames - 8))
            valid[person, begin:begin + int(rng.integers(3, 9)), int(rng.integers(0, joints))] = False
        if person and rng.uniform() < 0.3:
            valid[person, :int(rng.integers(1, frames // 3))] = False
        if person and rng.uniform() < 0.3:
            valid[person, -int(rng.integers(1, frames // 3)):] = False
    return valid
