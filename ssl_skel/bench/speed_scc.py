"""Speed of one pretraining step of skeleton cloud colorization beside the published form of the same step."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal

from ssl_skel.bench.provenance import environment
from ssl_skel.bench.timing import MACHINE
from ssl_skel.errors import ContractFailed, UsageMistake
from ssl_skel.runtime import allocator_environment

__all__ = ["scaling", "scc_scaling", "scc_step"]

TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2}
"""Relative difference of the first losses beyond which the two sides do not do the same work."""


class Worker:
    """A child process that runs one side, with the allocator set up as the suite does for every cell."""

    def __init__(self, fast: bool = True, **sizes: Any) -> None:
        waits = {"OMP_WAIT_POLICY": "PASSIVE", "SSL_SKEL_FAST": "1" if fast else "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ssl_skel.bench.scc_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | allocator_environment() | waits,
        )
        self.first = self._ask(json.dumps(sizes))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContractFailed(
                f"the worker of scc-step ended with code {self._process.wait()}",
                "Its error stands above; too little memory for these sizes ends it, too (code -9)",
            )
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer tells why
        return self._read()

    def step(self) -> dict[str, Any]:
        """Run a step and return what `Side.step` does."""
        return self._ask("step")

    def peak_mb(self) -> float:
        """End the worker and return its peak memory over that after its imports."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        peak: float = self._read()["peak_mb"]
        return peak


def scc_step(
    batch: int = 24, points: int = 1000, k: int = 20, precision: Literal["fp32", "bf16"] = "fp32",
    repeats: int = 3, fast: bool = True, reduction: Literal["max", "sum"] = "sum", threads: int = 2,
    device: str = "cpu",
) -> dict[str, Any]:
    """Time a step (DGCNN, FoldingNet, 6-D Chamfer, Adam) against the textbook form with the same weights.

    Each side runs in a process of its own with the same allocator set-up; steps alternate after two of
    warm-up: the second one still takes new memory from the system.

    Args:
        batch: Clouds.
        points: Of a cloud.
        k: Neighbours.
        precision: Of our products; the textbook form runs in float32.
        repeats: Timed steps of each side.
        fast: Whether ours may use the extra `fast`.
        reduction: Of the Chamfer distance. ``sum`` gives every decoded point a gradient, the harder case for
            ours.
        threads: Of torch.
        device: Where both run.

    Returns:
        ``what, ours_s, peer_s, ratio`` (times as fast), ``cpu_ratio`` (of processor seconds, which other processes
        on the machine change less), ``ours_peak_mb, peer_peak_mb`` over the imports,
        ``parts`` (medians in ms of each part, ours and the textbook's, and the first losses), ``machine``,
        ``size``.

    Raises:
        ContractFailed: If the first losses do not agree, or a worker dies.
        UsageMistake: If the sizes make no step.
    """
    _check(batch, points, k, repeats, precision)
    sizes = {"batch": batch, "points": points, "k": k, "reduction": reduction, "threads": threads, "device": device}
    steps: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    with (
        Worker(fast, side="ours", precision=precision, **sizes) as ours,
        Worker(fast, side="peer", precision="fp32", **sizes) as peer,
    ):
        losses = ours.first["loss"], peer.first["loss"]
        if abs(losses[0] - losses[1]) > TOLERANCE[precision] * abs(losses[1]):
            raise ContractFailed(f"scc-step: our first loss is {losses[0]:.6g}, the textbook's {losses[1]:.6g}")
        peer.step(), ours.step()
        for _ in range(repeats):
            steps["peer"].append(peer.step())
            steps["ours"].append(ours.step())
        peaks = ours.peak_mb(), peer.peak_mb()
    ours_s, peer_s = (_median(step["seconds"] for step in steps[side]) for side in ("ours", "peer"))
    used = {side: _median(step["cpu_seconds"] for step in steps[side]) for side in steps}
    machine = environment(device) | {"threads": threads}
    return {
        "what": "scc-step", "ours_s": ours_s, "peer_s": peer_s, "ratio": peer_s / ours_s,
        "cpu_ratio": used["peer"] / max(used["ours"], 1e-9),
        "ours_peak_mb": peaks[0], "peer_peak_mb": peaks[1],
        "parts": {side: _parts(steps[side]) for side in steps} | {"first_losses": losses},
        "machine": {key: machine[key] for key in MACHINE}, "size": sizes | {"precision": precision, "fast": fast},
    }


def scaling(repeats: int = 2, precision: Literal["fp32", "bf16"] = "fp32", threads: int = 2,
            device: str = "cpu") -> dict[str, Any]:
    """Time our step at the sizes of `scc_scaling`.

    Returns:
        ``what``, ``rows``, ``machine``, and ``slope``: the exponent of memory against points from 1,000 points on; 1 is
        linear.
    """
    rows = scc_scaling(repeats=repeats, precision=precision, threads=threads, device=device)
    clouds = [row for row in rows if row["axis"] == "points" and row["points"] >= 1000]
    first, last = clouds[0], clouds[-1]
    slope = math.log(last["peak_mb"] / first["peak_mb"]) / math.log(last["points"] / first["points"])
    machine = environment(device) | {"threads": threads}
    return {"what": "scc-scaling", "rows": rows, "slope": slope, "machine": {key: machine[key] for key in MACHINE}}


def scc_scaling(
    points: Iterable[int] = (250, 500, 1000, 2000, 4000, 8000), batches: Iterable[int] = (6, 12, 24, 48),
    ks: Iterable[int] = (10, 20, 40, 80), repeats: int = 2, precision: Literal["fp32", "bf16"] = "fp32",
    fast: bool = True, threads: int = 2, device: str = "cpu",
) -> list[dict[str, Any]]:
    """Time our step and its memory against points, batch and k, one at a time around 8 clouds of 1,000 and k = 20.

    Returns:
        Rows of ``axis`` (what varies), ``batch``, ``points``, ``k``, ``seconds``, ``peak_mb``.
    """
    rows = [("points", 8, n, 20) for n in points]
    rows += [("batch", b, 1000, 20) for b in batches] + [("k", 8, 1000, k) for k in ks]
    table = []
    for axis, batch, count, k in rows:
        _check(batch, count, k, repeats, precision)
        sizes = {"batch": batch, "points": count, "k": k, "reduction": "sum", "threads": threads, "device": device}
        with Worker(fast, side="ours", precision=precision, **sizes) as worker:
            worker.step()
            seconds = _median(worker.step()["seconds"] for _ in range(repeats))
            peak = worker.peak_mb()
        table.append({"axis": axis, "batch": batch, "points": count, "k": k, "seconds": seconds, "peak_mb": peak})
    return table


def _check(batch: int, points: int, k: int, repeats: int, precision: str) -> None:
    if min(batch, points, k, repeats) < 1 or batch * points < 2:
        raise UsageMistake("scc-step needs at least one cloud of two points, one neighbour and one repeat")
    if k > points:
        raise UsageMistake(f"scc-step: k = {k} neighbours among {points} points", "Lower k")
    if precision not in TOLERANCE:
        raise UsageMistake(f"scc-step has no precision {precision!r}", f"Use one of {', '.join(TOLERANCE)}")


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def _parts(steps: list[dict[str, Any]]) -> dict[str, float]:
    return {name: round(_median(step["parts"][name] for step in steps), 1) for name in steps[0]["parts"]}
