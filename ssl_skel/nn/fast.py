"""The extra `fast`: compiled loops for float32 clouds on CPUs, taken whenever numba is installed.

They do what the torch forms in `neighbours`, `knn` and `chamfer` do and give the same numbers to rounding.
The environment variable ``SSL_SKEL_FAST=0`` turns them off. numba is imported at first use; the loops run
without the interpreter's lock, on as many threads as torch uses.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

__all__ = ["available", "helpers", "over_threads", "takes"]


@functools.cache
def available() -> bool:
    """Say whether the loops can be compiled: numba is there and works with this numpy."""
    try:
        importlib.import_module("ssl_skel.nn.fast_jit")
    except ImportError:
        return False
    return True


def takes(x: Tensor) -> bool:
    """Say whether the compiled loops take over for a tensor like `x`."""
    return (
        x.device.type == "cpu" and x.dtype == torch.float32 and os.environ.get("SSL_SKEL_FAST") != "0" and available()
    )


@functools.cache
def helpers(process: int) -> ThreadPoolExecutor:
    """Return the other threads of this process, by its id; a forked child makes its own."""
    return ThreadPoolExecutor(thread_name_prefix="ssl-skel-fast")


def over_threads(kernel: Callable[..., None], units: int, *args: Any) -> None:
    """Call ``kernel(*args, start, stop)`` on ranges that make up 0 to `units`, one for each of torch's threads.

    Args:
        kernel: A function of `fast_edges` or `fast_search`.
        units: Number of units of work.
        *args: Its other arguments; tensors are handed over as arrays that share their memory.
    """
    arrays = [x.detach().numpy() if isinstance(x, Tensor) else x for x in args]
    threads = max(1, min(torch.get_num_threads(), units))
    cuts = [units * i // threads for i in range(threads + 1)]
    pool = helpers(os.getpid()) if threads > 1 else None
    others = [pool.submit(kernel, *arrays, *cuts[i:i + 2]) for i in range(1, threads)] if pool else []
    kernel(*arrays, *cuts[:2])
    for other in others:
        other.result()
