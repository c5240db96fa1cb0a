"""Rows of an npy array from a stream, checked before anything is allocated; never a pickle."""

from __future__ import annotations

import math
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ssl_skel.errors import BadData

CHUNK_BYTES = 16 << 20
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class NpyStream:
    """An npy file after its header.

    Attributes:
        file: Positioned at the first number.
        shape: Of the array.
        dtype: Of the numbers.
        name: For messages.
    """

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str

    def rows(self) -> Iterator[NDArray[Any]]:
        """Give one row after the other, read in chunks of some megabytes.

        Raises:
            BadData: If the file ends before its last row.
        """
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, CHUNK_BYTES // max(1, row_bytes))
        for begin in range(0, self.shape[0], step):
            count = min(step, self.shape[0] - begin)
            data = self.file.read(count * row_bytes)
            if len(data) < count * row_bytes:
                raise BadData(f"{self.name}: cut off in row {begin + len(data) // row_bytes} of {self.shape[0]}")
            yield from np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def open_npy(file: IO[bytes], name: str, size: int) -> NpyStream:
    """Read the header of an npy file.

    Args:
        file: At its start.
        name: For messages.
        size: Bytes of the whole file; an array that does not fit is refused.

    Raises:
        BadData: If it is no npy file of numbers in C order, or larger than its file.
    """
    try:
        shape, fortran, dtype = _READERS[npy.read_magic(file)](file)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, RecursionError, tokenize.TokenError) as error:
        raise BadData(f"{name}: not an npy file ({str(error).splitlines()[0]})") from None
    if dtype.kind not in "fiub" or fortran or not shape or dtype.names:
        raise BadData(f"{name}: holds {dtype} of shape {shape}, not numbers in C order")
    if math.prod(shape[1:]) * dtype.itemsize > CHUNK_BYTES:
        raise BadData(f"{name}: one row of shape {shape[1:]} is larger than {CHUNK_BYTES >> 20} MB")
    if math.prod(shape) * dtype.itemsize > size:
        raise BadData(f"{name}: its header promises more than its {size} bytes; it is cut off")
    return NpyStream(file, shape, dtype, name)
