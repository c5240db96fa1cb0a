"""Preprocessing families: named, versioned, computed on the device when clips are loaded.

All start from the one raw store and keep metres and time; they differ in what they take away: place,
orientation, trajectory, the distance between persons. Axes: `layout.up` is vertical; x grows to the right
hand of a person facing the camera, so the shoulder vector left -> right of an aligned person points to +x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ssl_skel.data.families import NOTES
from ssl_skel.data.layouts import Layout
from ssl_skel.data.ragged import Ragged
from ssl_skel.errors import UnknownName

CHUNK_ROWS = 1 << 18

Frame = tuple[Tensor, Tensor | None]
"""Per row: origin (R, 3) to subtract; and cosine and sine (R, 2) of a turn about the vertical, axes (R, 3, 3) of a
turn in space (row i is what becomes axis i), or None."""


@dataclass(frozen=True)
class Family:
    """A preprocessing family.

    Attributes:
        name: A key of `families.NOTES`, where it is described.
        version: Raised with every change that can change a number.
        frame: Finds origin and rotation of each row.
    """

    name: str
    version: int
    frame: Callable[[Ragged, Layout], Frame]

    @property
    def id(self) -> str:
        """Name and version, as they enter the dataset digest."""
        return f"{self.name}/{self.version}"


def apply(family: Family, clips: Ragged, layout: Layout, scale: float = 1.0) -> Ragged:
    """Preprocess clips, overwriting their rows.

    Args:
        family: From `get_family`.
        clips: Raw; each clip's result depends on that clip only.
        layout: Of the dataset.
        scale: Factor to metres.
    """
    origin, turn = family.frame(clips, layout)
    shifts = torch.arange(clips.num_joints, dtype=torch.int32, device=clips.rows.device)
    side, depth = _horizontal(layout)
    for begin in range(0, len(clips.rows) - 1, CHUNK_ROWS):
        part = slice(begin, min(begin + CHUNK_ROWS, len(clips.rows) - 1))
        rows = clips.rows[part]
        rows.sub_(origin[part, None])
        if turn is not None and turn.ndim == 3:
            rows.copy_(torch.einsum("rvj,rij->rvi", rows, turn[part]))
        elif turn is not None:
            cos, sin = turn[part, None, 0], turn[part, None, 1]
            x, z = rows[..., side], rows[..., depth]
            rotated = cos * x + sin * z, cos * z - sin * x
            rows[..., side], rows[..., depth] = rotated
        if scale != 1.0:
            rows.mul_(scale)
        if not clips.whole:
            rows.mul_(((clips.bits[part, None] >> shifts) & 1)[..., None])
    return replace(clips)


def get_family(name: str) -> Family:
    """Look a family up.

    Raises:
        UnknownName: If there is none of that name.
    """
    if name not in FAMILIES:
        raise UnknownName("preprocessing", name, FAMILIES)
    return FAMILIES[name]


def _horizontal(layout: Layout) -> tuple[int, int]:
    """The axis that points to the side (x) and the other horizontal one."""
    return 0, 3 - layout.up


def _has(clips: Ragged, *joints: int) -> Tensor:
    """(R,) bool, rows in which all these joints are valid."""
    mask = sum(1 << joint for joint in joints)
    return (clips.bits[:-1] & mask) == mask


def _first_row(clips: Ragged, good: Tensor) -> tuple[Tensor, Tensor]:
    """First row of each clip where `good` (R,) holds, persons in order: (C,) row, (C,) if there is one."""
    none = len(clips.rows) - 1
    row = torch.where(good, torch.arange(none, device=good.device), none)
    first = torch.full((len(clips),), none, dtype=torch.int64, device=good.device)
    first = first.scatter_reduce(0, clips.row_clip, row, "amin")
    return first, first < none


def _first_origin(clips: Ragged, joint: int) -> Tensor:
    """(C, 3): `joint` in the first row that has it; in a clip without it, the mean of the first row."""
    row, found = _first_row(clips, _has(clips, joint))
    start, _ = _first_row(clips, clips.bits[:-1] != 0)
    shifts = torch.arange(clips.num_joints, dtype=torch.int32, device=clips.rows.device)
    count = ((clips.bits[start, None] >> shifts) & 1).sum(1, keepdim=True)
    mean = clips.rows[start].sum(1) / count
    return torch.where(found[:, None], clips.rows[row, joint], mean)


def _turn(rows: Tensor, layout: Layout, usable: Tensor) -> Tensor:
    """(n, 2) cosine and sine of the angle of the shoulders to the side axis; no turn where not usable.

    Args:
        rows: (n, V, 3).
        layout: Names the shoulders and the vertical.
        usable: (n,) bool.
    """
    side, depth = _horizontal(layout)
    left, right = layout.shoulders
    across = rows[:, right] - rows[:, left]
    flat = torch.stack([across[:, side], across[:, depth]], 1)
    norm = flat.square().sum(1, keepdim=True).sqrt()
    none = torch.tensor([1.0, 0.0], device=rows.device)
    return torch.where(usable[:, None] & (norm > 1e-6), flat / norm.clamp_min(1e-6), none)


def _axes(across: Tensor, spine: Tensor, layout: Layout) -> Tensor:
    """(n, 3, 3) right-handed axes: the spine upwards, the shoulders as far to the side as it allows.

    Args:
        across: (n, 3), left to right shoulder.
        spine: (n, 3), root to between the shoulders.
        layout: Names the vertical axis.

    Returns:
        The identity where the two are shorter than a tenth of a millimetre or parallel.
    """
    side, depth = _horizontal(layout)
    up = torch.nn.functional.normalize(spine, dim=1)
    flat = across - (across * up).sum(1, keepdim=True) * up
    right = torch.nn.functional.normalize(flat, dim=1)
    third = torch.linalg.cross(right, up) if layout.up == 1 else torch.linalg.cross(up, right)
    axes = torch.empty(len(up), 3, 3, dtype=up.dtype, device=up.device)
    axes[:, side], axes[:, layout.up], axes[:, depth] = right, up, third
    usable = (spine.norm(dim=1) > 1e-4) & (flat.norm(dim=1) > 1e-4)
    return torch.where(usable[:, None, None], axes, torch.eye(3, dtype=up.dtype, device=up.device))


def _first_frame(clips: Ragged, layout: Layout) -> Frame:
    return _first_origin(clips, layout.centre)[clips.row_clip], None


def _view_aligned(clips: Ragged, layout: Layout) -> Frame:
    row, found = _first_row(clips, _has(clips, layout.centre, *layout.shoulders))
    turn = _turn(clips.rows[row], layout, found)
    return _first_origin(clips, layout.centre)[clips.row_clip], turn[clips.row_clip]


def _body_aligned(clips: Ragged, layout: Layout) -> Frame:
    """Axes from the mean shoulders and spine of the first person that shows them, over the whole clip."""
    (left, right), root = layout.shoulders, layout.root
    rows, usable = clips.rows[:-1], _has(clips, left, right, root)
    row, found = _first_row(clips, usable)
    person = clips.row_person[torch.where(found, row, 0)]
    usable = usable & (clips.row_person == person[clips.row_clip])
    across = rows[:, right] - rows[:, left]
    spine = (rows[:, left] + rows[:, right]) / 2 - rows[:, root]
    vectors = torch.cat([across, spine], 1).double() * usable[:, None]
    total = torch.zeros(len(clips), 6, dtype=torch.float64, device=rows.device)
    total = total.index_add(0, clips.row_clip, vectors)
    axes = _axes(total[:, :3], total[:, 3:], layout).to(rows.dtype)
    return _first_origin(clips, layout.centre)[clips.row_clip], axes[clips.row_clip]


def _per_frame(clips: Ragged, layout: Layout) -> Frame:
    """Centre of person 1 in the same frame, else in the last frame that has it, else in the first."""
    total = len(clips.rows) - 1
    start, length, first = clips.tracks[clips.row_clip, 0].unbind(1)
    row = first + torch.minimum((clips.row_frame - start).clamp_min(0), length - 1)
    numbers = torch.arange(total, device=row.device)
    latest = torch.where(_has(clips, layout.centre), numbers, -1).cummax(0).values[row]
    origin = clips.rows[latest.clamp_min(0), layout.centre]
    known = (latest >= first)[:, None]
    return torch.where(known, origin, _first_origin(clips, layout.centre)[clips.row_clip]), None


def _per_body(clips: Ragged, layout: Layout) -> Frame:
    """Root and shoulders of each body in each frame; a row without the root joint uses its mean."""
    rows, root = clips.rows[:-1], layout.root
    shifts = torch.arange(clips.num_joints, dtype=torch.int32, device=rows.device)
    count = ((clips.bits[:-1, None] >> shifts) & 1).sum(1, keepdim=True).clamp_min(1)
    origin = torch.where(_has(clips, root)[:, None], rows[:, root], rows.sum(1) / count)
    return origin, _turn(rows, layout, _has(clips, *layout.shoulders))


_FRAMES: dict[str, Callable[[Ragged, Layout], Frame]] = {
    "first-frame": _first_frame, "per-frame": _per_frame, "per-body": _per_body, "view-aligned": _view_aligned,
    "body-aligned": _body_aligned,
}
FAMILIES = {name: Family(name, note.version, _FRAMES[name]) for name, note in NOTES.items()}
