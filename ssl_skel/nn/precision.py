"""Losses and statistics in full precision, whatever autocast does around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def _widen(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value


def full_precision(fn: Callable[P, R]) -> Callable[P, R]:
    """Run a function outside autocast on its arguments, half-precision tensors among them as float32."""

    @functools.wraps(fn)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return fn(*[_widen(a) for a in args], **{k: _widen(v) for k, v in kwargs.items()})

    return wrapped
