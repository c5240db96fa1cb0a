"""From space to paper: an orthographic camera, so that lengths keep their proportions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """Where the viewer stands.

    Attributes:
        turn: Degrees by which the viewer walks to the right around the scene; 0 is where it was recorded from.
        lift: Degrees by which the viewer looks down; 90 is from above.
    """

    turn: float = 25.0
    lift: float = 12.0

    def project(self, xyz: Floats) -> tuple[Floats, Floats]:
        """See points.

        Args:
            xyz: (..., 3): right, away, up, as `scene.Scene` has them.

        Returns:
            (..., 2) positions on the paper, to the right and up, in the units of `xyz`, and (...) distances.
        """
        turn, lift = math.radians(self.turn), math.radians(self.lift)
        right, away, up = xyz[..., 0], xyz[..., 1], xyz[..., 2]
        across = math.cos(turn) * right + math.sin(turn) * away
        far = math.cos(turn) * away - math.sin(turn) * right
        paper = np.stack([across, math.cos(lift) * up + math.sin(lift) * far], axis=-1)
        return paper, math.cos(lift) * far - math.sin(lift) * up


ABOVE = Camera(turn=0.0, lift=90.0)
