"""Timings of the suite's own work beside a plain implementation of the same work, in one run."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from ssl_skel.errors import UsageMistake

SPEEDS: dict[str, str] = {
    "loader": "ssl_skel.bench.speed_loader:loader",
    "store": "ssl_skel.bench.speed_store:store",
    "ntu-reader": "ssl_skel.bench.speed_ntu:ntu_reader",
    "scc-step": "ssl_skel.bench.speed_scc:scc_step",
    "scc-scaling": "ssl_skel.bench.speed_scc:scaling",
    "linear-probe": "ssl_skel.bench.speed_probe:linear_probe",
    "knn": "ssl_skel.bench.speed_probe:knn",
    "moco": "ssl_skel.bench.speed_baselines:moco",
    "byol": "ssl_skel.bench.speed_baselines:byol",
    "mamp": "ssl_skel.bench.speed_baselines:mamp",
    "bigru": "ssl_skel.bench.speed_baselines:bigru",
}


def measure(what: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """Time a named piece of work.

    Args:
        what: A key of `SPEEDS`.
        sizes: Arguments of its function; others keep their defaults.

    Returns:
        ``what, ours_s, peer_s, ratio, cpu_ratio, ours_peak_mb, peer_peak_mb, parts, machine``; medians of alternating
        runs. Of scc-scaling, which has no peer: ``what, rows, slope, machine``.

    Raises:
        UsageMistake: If the piece of work has no such argument.
    """
    module, _, name = SPEEDS[what].partition(":")
    function = getattr(importlib.import_module(module), name)
    known = inspect.signature(function).parameters
    wrong = sorted(set(sizes) - set(known))
    if wrong:
        raise UsageMistake(f"bench speed {what} takes no --{wrong[0]}", f"It takes {', '.join(sorted(known))}.")
    result: dict[str, Any] = function(**sizes)
    return result
