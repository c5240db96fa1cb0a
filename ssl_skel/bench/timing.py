"""Times a piece of our work beside a plain implementation of the same work, in one run."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from ssl_skel.bench.provenance import environment
from ssl_skel.runtime import trim_heap

MACHINE = ("platform", "cpu", "cores", "memory_mb", "device", "device_name", "threads")


def measured(work: Callable[[], Any]) -> tuple[Any, float, float, float]:
    """Run `work` once.

    Returns:
        What it returned, seconds, processor seconds of all threads, and the most resident memory above that at the
        start in MB (10^6 bytes), looked at every 5 ms.
    """
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began, used = time.perf_counter(), time.process_time()
    try:
        result = work()
    finally:
        seconds, used = time.perf_counter() - began, time.process_time() - used
        done.set()
        watcher.join()
    return result, seconds, used, (max(peak, process.memory_info().rss) - before) / 1e6


def compare(what: str, ours: Callable[[], Any], peer: Callable[[], Any],
            agree: Callable[[Any, Any], dict[str, Any]], runs: int = 3) -> dict[str, Any]:
    """Time two implementations alternately and report medians.

    Args:
        what: Name of the work.
        ours: Our implementation.
        peer: The plain one.
        agree: Compares what the two returned (last run) and returns figures for ``parts``; raises where they
            do not agree, as a ratio of different work means nothing.
        runs: Of each; of several, one more comes first, for the memory alone.

    Returns:
        ``what, ours_s, peer_s, ratio`` (times as fast), ``cpu_ratio`` (of processor seconds, which other processes
        on the machine change less), ``ours_peak_mb, peer_peak_mb, parts, machine``.
    """
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    processor: dict[str, list[float]] = {"ours": [], "peer": []}
    memory: dict[str, list[float]] = {"ours": [], "peer": []}
    results: dict[str, Any] = {}
    for run in range(runs + (runs > 1)):
        for name, work in (("peer", peer), ("ours", ours)):
            if run == 0:  # later runs find their memory in the heap, freed but kept, and would seem to need none
                trim_heap()
            results[name], spent, used, peak = measured(work)
            memory[name].append(peak)
            if run > 0 or runs == 1:  # new memory takes its time
                seconds[name].append(spent)
                processor[name].append(used)
    ours_s, peer_s = statistics.median(seconds["ours"]), statistics.median(seconds["peer"])
    machine = environment()
    return {"what": what, "ours_s": ours_s, "peer_s": peer_s, "ratio": peer_s / ours_s,
            "cpu_ratio": statistics.median(processor["peer"]) / max(statistics.median(processor["ours"]), 1e-9),
            "ours_peak_mb": max(memory["ours"]), "peer_peak_mb": max(memory["peer"]),
            "parts": agree(results["ours"], results["peer"]), "machine": {key: machine[key] for key in MACHINE}}
