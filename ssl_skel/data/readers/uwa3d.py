"""Reader of UWA3D Multiview Activity II: one MATLAB v7.3 (HDF5) file a clip, dataset ``A``.

``aAA_sSS_eEE_vVV.mat`` in ``ActionsSkeleton`` (the RGB and depth folders use another order of the fields). How
the 45 numbers of a frame are ordered is written nowhere: 15 joints of x, y, z, or three axes of 15 joints; nor
whether frames come first. The order is therefore measured, once a folder: of all orders in which a sample of
its files can be read, the one in which bones keep their length best. Read wrongly, the "bones" connect numbers
of different axes and stretch as the person moves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.data.clip import RawClip
from ssl_skel.data.layouts import NITE_15
from ssl_skel.data.readers.base import Dropped, Reader, raw_folder, unique_stems
from ssl_skel.data.readers.files import find
from ssl_skel.errors import BadData

ACTIONS = 30
JOINTS = NITE_15.num_joints
SAMPLE = 32
MAX_FRAMES = 20_000
PLAUSIBLE = 0.3
"""Largest mean coefficient of variation of bone lengths in a right order; unrelated numbers give 0.42."""

CLEARLY_BETTER = 0.9
_NAME = re.compile(r"a(?P<action>\d\d)_s(?P<subject>\d\d)_e(?P<repetition>\d\d)_v(?P<view>\d\d)")
_FILE = re.compile(_NAME.pattern + r"\.mat")
Array = NDArray[Any]


@dataclass(frozen=True)
class Order:
    """A way to read a dataset of 45 numbers a frame.

    Attributes:
        frames_last: Whether the last axis counts the frames, not the first.
        axes_first: Whether a frame is 3 axes of 15 joints, not 15 joints of 3 axes.
    """

    frames_last: bool
    axes_first: bool

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape has 45 numbers a frame in this order."""
        return math.prod(shape) == (shape[-1] if self.frames_last else shape[0]) * JOINTS * 3

    def read(self, values: Array) -> NDArray[np.float64]:
        """Return (T, 15, 3)."""
        frames_first = np.moveaxis(values, -1, 0) if self.frames_last else values
        flat = frames_first.reshape(len(frames_first), -1).astype(np.float64)
        if self.axes_first:
            return flat.reshape(-1, 3, JOINTS).swapaxes(1, 2)
        return flat.reshape(-1, JOINTS, 3)


ORDERS = tuple(Order(last, axes) for last in (False, True) for axes in (False, True))


class Uwa3dReader(Reader):
    """Reads ``ActionsSkeleton`` (or a folder that holds it)."""

    version = 1

    def discover(self, raw: Path) -> list[Path]:
        """List the ``.mat`` files whose names are those of this set."""
        return unique_stems(list(find(raw_folder(raw), _FILE)), "UWA3D files (a01_s01_e01_v01.mat ...)", raw)

    def read(self, path: Path) -> Iterator[RawClip | Dropped]:
        """Read one clip; joints that are not finite, or at (0, 0, 0), become invalid."""
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise BadData(f"{path.name} is not named aAA_sSS_eEE_vVV.mat")
        fields = {key: int(value) for key, value in match.groupdict().items()}
        action = fields.pop("action")
        if not 1 <= action <= ACTIONS:
            raise BadData(f"{path.name}: action {action} is not one of 1 to {ACTIONS}")
        values = load_matlab(path)
        measured = _measure_folder(path.parent)
        if isinstance(measured, BadData):
            raise BadData(f"{path.name}: {measured.what}", measured.todo)
        order, scale = measured
        if not order.fits(values.shape):
            raise BadData(f"{path.name}: shape {values.shape} differs from that of the other files")
        with np.errstate(over="ignore"):
            xyz = (order.read(values) * scale).astype(np.float32)
        valid = np.isfinite(xyz).all(axis=2) & (xyz != 0).any(axis=2)
        yield RawClip(path.stem, xyz[None], valid[None], action - 1, **fields)


def load_matlab(path: Path) -> Array:
    """Read dataset ``A`` of a MATLAB v7.3 file.

    Returns:
        An array of 45 numbers a frame, in the file's order.

    Raises:
        BadData: If it is no HDF5 file, has no such dataset, or that is not of 45 numbers a frame.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data = file.get("A") if isinstance(file.get("A", getlink=True), h5py.HardLink) else None
            if not isinstance(data, h5py.Dataset):
                raise BadData(f"{path.name}: no dataset 'A' (there is {', '.join(sorted(file)[:5]) or 'nothing'})")
            shape, kind = tuple(data.shape), data.dtype.kind
            if data.external or data.is_virtual or math.prod(data.chunks or ()) > MAX_FRAMES * JOINTS * 3:
                raise BadData(f"{path.name}: dataset 'A' is stored in a way that MATLAB does not use")
            if kind not in "fiu" or 0 in shape or data.attrs.get("MATLAB_empty", 0):
                raise BadData(f"{path.name}: dataset 'A' is empty or holds no numbers")
            if not 2 <= len(shape) <= 3 or not any(order.fits(shape) for order in ORDERS):
                raise BadData(f"{path.name}: shape {shape} is not {JOINTS * 3} numbers a frame")
            if max(shape) > MAX_FRAMES:
                raise BadData(f"{path.name}: {max(shape)} frames, more than {MAX_FRAMES}")
            return np.asarray(data[()])
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise BadData(f"{path.name}: not a whole MATLAB v7.3 (HDF5) file ({error})") from None


def measure_order(samples: list[Array]) -> Order:
    """Find the order in which the clips of a folder have to be read.

    Args:
        samples: As `load_matlab` gives them.

    Raises:
        BadData: If bones keep their length in no order, or equally well in several.
    """
    score: dict[Order, float] = {}
    for order in ORDERS:
        fitting = [values for values in samples if order.fits(values.shape)]
        if 2 * len(fitting) > len(samples):
            score[order] = float(np.mean([_bone_variation(order.read(values)) for values in fitting]))
    ranked = sorted(score, key=lambda order: score[order])
    if not ranked or not score[ranked[0]] <= PLAUSIBLE:
        best = f"; the best varies by {score[ranked[0]]:.0%}" if ranked else ""
        raise BadData(f"no order of joints and axes gives bones of constant length{best}",
                      "These are not skeletons of 15 joints; please report the file.")
    if len(ranked) > 1 and not score[ranked[0]] < CLEARLY_BETTER * score[ranked[1]]:
        raise BadData("bones are as constant in one order of joints and axes as in another",
                      "Put clips with movement into the same folder.")
    return ranked[0]


def _bones(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 15, 3) positions -> (T, 14) bone lengths."""
    child, parent = np.array(NITE_15.bones).T
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.linalg.norm(xyz[:, child] - xyz[:, parent], axis=2))


def _bone_variation(xyz: NDArray[np.float64]) -> float:
    """Standard deviation over mean of each bone's length over the frames, averaged over the bones.

    At most 1, which no skeleton has: one damaged file must not outvote a folder of sound ones.
    """
    length = _bones(xyz)
    length = length[np.isfinite(length).all(axis=1)]
    if not len(length):
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        variation = float((length.std(axis=0) / np.maximum(length.mean(axis=0), 1e-9)).mean())
    return variation if variation < 1 else 1.0


@cache
def _measure_folder(folder: Path) -> tuple[Order, float] | BadData:
    """Order of the files of a folder and the factor that turns their unit into metres, or why there is none.

    No bone of a person is 5 m long: where the median bone is, the numbers are millimetres.
    """
    paths = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name) and path.is_file())
    samples = []
    for path in paths[::max(1, len(paths) // SAMPLE)]:
        with suppress(BadData):
            samples.append(load_matlab(path))
    try:
        order = measure_order(samples)
    except BadData as error:
        return error
    lengths = [_bones(order.read(values)).ravel() for values in samples if order.fits(values.shape)]
    return order, 0.001 if float(np.nanmedian(np.concatenate(lengths))) > 5 else 1.0
