"""Unpickling that can only make numbers, strings, lists, dicts and numpy arrays of numbers.

Nothing in the file is imported or called: the few globals that numpy arrays are pickled with stand for recorders
below, and the arrays are made afterwards, by us, from bytes whose length fits. (A real numpy dtype would not do:
its ``__setstate__`` believes the file about which bytes are pointers.)
"""

from __future__ import annotations

import math
import pickle
import re
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ssl_skel.errors import BadData

_DTYPE = re.compile(r"[<>|=]?[biufSU]\d{0,5}")


class RefusedGlobal(Exception):
    """A global that no dataset needs."""


class Dtype:
    """A dtype as the file describes it: kind and size, then the byte order."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ValueError(f"a numpy array of dtype {code!r}")
        self.code, self.order = code.lstrip("<>|="), code[0] if code[0] in "<>" else "<"

    def set_state(self, state: Any) -> None:
        """Take the byte order; anything else that a dtype can carry is refused."""
        order, rest = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(item is not None for item in rest):
            raise ValueError("a numpy array of a structured dtype")
        self.order = ">" if order == ">" else "<"

    def make(self) -> np.dtype[Any]:
        """The real dtype."""
        return np.dtype(self.order + self.code)


class Array:
    """A numpy array as the file describes it; `make` builds it."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: Any = None
        self.fortran = False
        self.data: Any = b""

    def set_state(self, state: Any) -> None:
        """Take shape, dtype, order and bytes."""
        _, self.shape, self.dtype, self.fortran, self.data = state

    def make(self) -> NDArray[Any]:
        """Build the array from its bytes.

        Raises:
            ValueError: If they don't fit, or are no bytes (an array of objects).
        """
        if not isinstance(self.dtype, Dtype) or not isinstance(self.data, (bytes, bytearray)):
            raise ValueError("a numpy array of objects")
        if not all(isinstance(size, int) and size >= 0 for size in self.shape):
            raise ValueError("a numpy array of impossible shape")
        dtype = self.dtype.make()
        if math.prod(self.shape) * dtype.itemsize != len(self.data):
            raise ValueError(f"a numpy array of shape {self.shape} with {len(self.data)} bytes")
        flat = np.frombuffer(self.data, dtype)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def _reconstruct(*_: object) -> Array:
    return Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.set_state((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    array = _from_buffer(data, dtype, (), "C").make()
    return array.item()


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("text in another encoding than latin1")
    return text.encode("latin1")


_GLOBALS: dict[tuple[str, str], Any] = {("numpy", "ndarray"): Array, ("numpy", "dtype"): Dtype,
                                        ("_codecs", "encode"): _encode}
for _core in ("numpy.core", "numpy._core"):
    _GLOBALS |= {(f"{_core}.multiarray", "_reconstruct"): _reconstruct, (f"{_core}.multiarray", "scalar"): _scalar,
                 (f"{_core}.numeric", "_frombuffer"): _from_buffer}


class _Unpickler(pickle._Unpickler):
    """The pure Python unpickler, as only it lets the opcode that sets an object's state be replaced."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise RefusedGlobal(f"{module}.{name}")
        return _GLOBALS[module, name]

    def _build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) not in (Array, Dtype):
            raise ValueError("an object that is no numpy array")
        self.stack[-1].set_state(state)

    dispatch[pickle.BUILD[0]] = _build


def load(path: Path) -> Any:
    """Read a pickle of plain values.

    Args:
        path: Of the file.

    Returns:
        Its content; numpy arrays are `Array`, to be made with `as_array`.

    Raises:
        BadData: Naming the global, if the file wants anything but plain values and arrays; if it is damaged.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except RefusedGlobal as error:
        raise BadData(f"{path.name} refused: it asks for {error}, which no dataset needs",
                      "Don't load this file with anything else unless you trust who made it.") from None
    except OSError as error:
        raise BadData(f"{path.name}: {error.strerror or error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            MemoryError, OverflowError, RecursionError, AssertionError, NotImplementedError, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadData(f"{path.name}: not a pickle of plain values and arrays ({reason})") from None


def as_array(value: Any, what: str) -> NDArray[Any]:
    """Make a real array of what `load` gave.

    Args:
        value: An `Array`; nothing else that a pickle can hold has a size that is known.
        what: For the message.

    Raises:
        BadData: If it is no array of numbers or strings.
    """
    try:
        if not isinstance(value, Array):
            raise ValueError("not a numpy array")
        made = value.make()
    except (ValueError, TypeError, OverflowError) as error:
        raise BadData(f"{what}: {error}") from None
    if made.dtype.kind not in "biufSU":
        raise BadData(f"{what}: not an array of numbers")
    return made
