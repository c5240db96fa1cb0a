"""The bench: plan, cells, executors, records, statistics and boards. Called as a function it runs a suite."""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """This package, so that ``ssl_skel.bench(...)`` is `ssl_skel.bench.python.bench` whatever was imported before."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from ssl_skel.bench.python import bench

        return bench(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
