"""Speed of the `.skeleton` parser beside a plain one that reads line by line."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_skel.bench.timing import compare
from ssl_skel.data.readers.fast import compiled
from ssl_skel.data.readers.ntu_text import SkeletonText, parse_skeleton, parse_with_numpy
from ssl_skel.errors import ContractFailed

BODY = 72057594037944734
FRAMES = 85
"""About the mean length of an NTU RGB+D clip."""


def skeleton_text(frames: int, bodies: int, seed: int = 0) -> bytes:
    """Write a recording as the archives have it: seven digits, some in exponent form, CRLF.

    Args:
        frames: T.
        bodies: In each frame.
        seed: For the positions.
    """
    rng = np.random.default_rng(seed)
    scale = np.array([0.5, 0.5, 0.5, 100, 100, 400, 400, 0.5, 0.5, 0.5, 0.5])
    centre = np.array([0, 0, 3, 250, 200, 1000, 500, 0, 0, 0, 0])
    fields = rng.normal(centre, scale, (frames, bodies, 25, 11))
    states = rng.choice([1, 2], (frames, bodies, 25), p=[0.1, 0.9])
    line = " ".join(["%.7g"] * 11) + " %d"
    lines = [str(frames)]
    for frame in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [f"{BODY + 4 * body} 0 1 1 0 0 0 0.0123 -0.4567 2", "25"]
            lines += [line % (*row, state) for row, state in zip(fields[frame, body].tolist(), states[frame, body])]
    return ("\r\n".join(lines) + "\r\n").encode()


def parse_by_line(data: bytes) -> SkeletonText:
    """Parse as published readers do: split every line, turn every field into a number, copy joint by joint."""
    lines = iter(data.decode().splitlines())
    frames, rows = int(next(lines)), []
    for frame in range(frames):
        for _ in range(int(next(lines))):
            body = next(lines).split()
            xyz, state = np.zeros((25, 3), np.float32), np.zeros(25, np.uint8)
            for joint in range(int(next(lines))):
                values = [float(field) for field in next(lines).split()]
                xyz[joint], state[joint] = values[:3], int(values[11])
            rows.append((frame, int(body[0]), xyz, state))
    frame_of, bodies, xyzs, states = zip(*rows)
    return SkeletonText(frames, np.array(frame_of), np.array(bodies, np.uint64), np.stack(xyzs), np.stack(states))


def ntu_reader(batch: int = 12, repeats: int = 5) -> dict[str, Any]:
    """Time the parser on made-up recordings of NTU length, a sixth of them with two bodies.

    Args:
        batch: Recordings.
        repeats: Alternating runs of each side.

    Returns:
        As `compare`, `ratio` saying how many times as fast ours is; ``parts`` also times our parser without
        compiled code.

    Raises:
        ContractFailed: If the parsers disagree.
    """
    texts = [skeleton_text(FRAMES, 2 if number % 6 == 5 else 1, number) for number in range(batch)]
    fast = compiled("ssl_skel.data.readers.ntu_numba") is not None
    parse_skeleton(texts[0])
    megabytes = sum(map(len, texts)) / 1e6

    def all_by(parser: Callable[[bytes], SkeletonText]) -> Callable[[], list[SkeletonText]]:
        return lambda: [parser(text) for text in texts]

    result = compare("ntu-reader", all_by(parse_skeleton), all_by(parse_by_line), _agree, repeats)
    plain = statistics.median(_seconds(all_by(parse_with_numpy)) for _ in range(repeats))
    result["parts"] = {
        "text_mb": megabytes, "compiled": fast,
        "ours_mb_per_s": megabytes / result["ours_s"], "peer_mb_per_s": megabytes / result["peer_s"],
        "numpy_only_mb_per_s": megabytes / plain, "numpy_only_ratio": result["peer_s"] / plain,
    }
    return result


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _agree(ours: list[SkeletonText], peer: list[SkeletonText]) -> dict[str, Any]:
    for a, b in zip(ours, peer, strict=True):
        if not (_same(a.xyz, b.xyz) and _same(a.state, b.state) and _same(a.body, b.body) and _same(a.frame, b.frame)):
            raise ContractFailed("the two .skeleton parsers disagree")
    return {}


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b)
