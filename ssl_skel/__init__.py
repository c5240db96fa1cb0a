"""ssl_skel: the benchmark suite for self-supervised skeleton action recognition.

In Python: `load_dataset`, `load_encoder`, `export_encoder`, `untrained_encoder`, `evaluate`, `bench` and the
scikit-learn transformer `SkeletonEncoder`; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_skel.bench.python import BenchResult, bench
    from ssl_skel.encoding.encoder import Encoder, untrained_encoder
    from ssl_skel.encoding.files import export_encoder, load_encoder
    from ssl_skel.encoding.transformer import SkeletonEncoder
    from ssl_skel.errors import SkelError
    from ssl_skel.evaluation import Evaluation, evaluate, load_dataset

__version__ = "0.1.0"

__all__ = [
    "BenchResult", "Encoder", "Evaluation", "SkelError", "SkeletonEncoder", "__version__", "bench", "evaluate",
    "export_encoder", "load_dataset", "load_encoder", "untrained_encoder",
]

_LAZY = {
    "BenchResult": "ssl_skel.bench.python", "Encoder": "ssl_skel.encoding.encoder",
    "untrained_encoder": "ssl_skel.encoding.encoder", "export_encoder": "ssl_skel.encoding.files",
    "load_encoder": "ssl_skel.encoding.files", "SkeletonEncoder": "ssl_skel.encoding.transformer",
    "SkelError": "ssl_skel.errors", "Evaluation": "ssl_skel.evaluation", "evaluate": "ssl_skel.evaluation",
    "load_dataset": "ssl_skel.evaluation",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "bench":
        return importlib.import_module("ssl_skel.bench")  # the package, which can be called
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
