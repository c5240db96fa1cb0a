"""The same bits on one CPU thread and on two.

Most of PyTorch's CPU kernels give the same bits on one thread and on two: a thread computes whole outputs. A few
split a sum among the threads and add the parts up, so that the number of threads decides how it is rounded; training
blows that up. `settle` lets those few run on one thread, in the whole process, by registering kernels above PyTorch's
own (`torch.library`): plugins and backbones of others have the same bits, too, and one thread computes what it would
have computed anyway. Convolutions are the only costly ones: their weight gradient has a thread to itself while the
others compute the gradient of the input.

Found by running every operation of real steps of every plugin on one thread and on two. More threads change no more of
these, but matrix products of some odd sizes.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ssl_skel.nn.fast import helpers

__all__ = ["one_thread", "settle", "unsettled"]

_MASK = 10  # position of `output_mask` among the arguments of convolution_backward
_SMALL = 16  # clips; fewer go through 1 x 1 filters by another algorithm on one thread (ATen's `use_mkldnn`)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch's CPU operations run on one thread inside.

    Also for work of many small operations: sharing a millisecond among threads gains little, and where other processes
    use the cores, OpenMP's threads spin at each operation until the slowest gets its turn. Gathering batches on two
    busy cores: 1.4 k clips/s with two threads, 7.4 k with one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def settle() -> bool:
    """Let what this process computes on CPUs have the same bits on one thread and on two.

    Returns:
        Whether it could; PyTorch before 2.9 can't tell its own kernels, and keeps them.
    """
    if not hasattr(torch.library, "get_kernel"):
        return False
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]  # torch gives it no types
    for name, divided in _DIVIDED.items():
        stock = torch.library.get_kernel(f"aten::{name}", "CPU")
        library.impl(name, functools.partial(_alone, stock, divided), "CPU", with_keyset=True)
    stock = torch.library.get_kernel("aten::convolution_backward", "CPU")
    library.impl("convolution_backward", functools.partial(_convolution_backward, stock), "CPU", with_keyset=True)
    _KEPT.append(library)  # what it registered goes with it
    return True


_KEPT: list[torch.library.Library] = []
_OFF: list[None] = []


@contextmanager
def unsettled() -> Iterator[None]:
    """Undo `settle` inside, for timing somebody else's implementation as PyTorch runs it."""
    _OFF.append(None)
    try:
        yield
    finally:
        _OFF.pop()


def _alone(stock: Any, divided: Callable[..., bool], keys: Any, *args: Any, **named: Any) -> Any:
    """Run an operation on one thread where it would be divided among threads."""
    if _OFF or torch.get_num_threads() == 1 or not divided(*args):
        return stock.call_boxed(keys, *args, **named)
    with one_thread():
        return stock.call_boxed(keys, *args, **named)


def _always(*_: Any) -> bool:
    return True


def _leaves_one_number(x: Tensor, dims: Sequence[int] | None, *_: Any) -> bool:
    return not dims or x.ndim == 0 or x.numel() == math.prod(x.shape[d] for d in dims)


def _adds_up(x: Tensor, indices: Any, values: Tensor, accumulate: bool = False, *_: Any) -> bool:
    return accumulate


def _is_small(x: Tensor, weight: Tensor, *_: Any) -> bool:
    return len(x) < _SMALL and all(size == 1 for size in weight.shape[2:])


_DIVIDED: dict[str, Callable[..., bool]] = {
    **dict.fromkeys(("native_layer_norm_backward", "native_group_norm_backward", "native_batch_norm",
                     "native_batch_norm_backward", "sum", "mean", "nansum", "prod", "dot", "_linalg_eigh",
                     "_linalg_svd", "linalg_qr", "linalg_inv_ex", "linalg_cholesky_ex", "linalg_lu_factor_ex",
                     "_linalg_solve_ex"), _always),
    "sum.dim_IntList": _leaves_one_number, "mean.dim": _leaves_one_number, "_index_put_impl_": _adds_up,
    "convolution": _is_small,
}
"""Operations of ATen -> whether a call is divided among threads; `convolution_backward` is in part."""


def _convolution_backward(stock: Any, keys: Any, *args: Any) -> Any:
    """Gradients of the input on all threads but one, and of weight and bias on that one."""
    threads, (of_input, of_weight, of_bias) = torch.get_num_threads(), args[_MASK]
    if _OFF or threads == 1:
        return stock.call_boxed(keys, *args)
    if not of_input or _is_small(args[1], args[2]):
        with one_thread():
            return stock.call_boxed(keys, *args)
    if not (of_weight or of_bias):
        return stock.call_boxed(keys, *args)

    def rest() -> Any:
        with torch.no_grad(), one_thread():
            return stock.call_boxed(keys, *args[:_MASK], [False, of_weight, of_bias])

    later = helpers(os.getpid()).submit(rest)
    try:
        torch.set_num_threads(threads - 1)
        first = stock.call_boxed(keys, *args[:_MASK], [True, False, False])
    finally:
        others = later.result()
        torch.set_num_threads(threads)
    return first[0], others[1], others[2]
