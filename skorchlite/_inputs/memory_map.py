"""Row slices of memory-mapped arrays, read from their files."""

import os
from collections import deque
from mmap import mmap
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .tables import Checked

_PAGE_BYTES = 4096


_PIECE_BYTES = 1 << 20  # that are read at a time of rows far apart


_BUFFERS = 6  # more than blocks wait to be computed with


class MappedArray(Checked):
    """Row slices of an array that is mapped from a file, read from there.

    Where memory is short, a map is slow to give up the pages that were read, and it breaks off the
    process where the file has been cut. The buffers of slices are used again, the oldest first.

    Parameters
    ----------
    array : ndarray
    file : str
    offset : int
        Where its first entry is in the file.
    """

    ahead = True

    def __init__(self, array: np.ndarray, file: str, offset: int):
        self.array, self.file, self.offset = array, file, offset
        self.shape, self.dtype = array.shape, array.dtype
        self._buffers: deque[bytearray] = deque(maxlen=_BUFFERS)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if not isinstance(rows, slice) or (rows.step or 1) < 0:
            return self.array[rows]
        start, stop, step = rows.indices(self.shape[0])
        like = self.array[start:stop:step]
        if not len(like):
            return like
        with open(self.file, "rb", buffering=0) as file:
            return self._rows(file, start, step, like)

    def _rows(self, file: Any, start: int, step: int, like: np.ndarray) -> np.ndarray:
        """Return every so many-th row from ``start`` on, which ``like`` is a map of."""
        span, distance = _span(like[:1]), like.strides[0]
        if 2 * span >= distance:
            return self._read(file, start, like)
        if distance > _PAGE_BYTES:
            # A map would take, and keep, all the pages about each of the rows.
            rows = bytearray(span * len(like))
            view = memoryview(rows)
            for i in range(len(like)):
                self._fill(file, start + i * step, view[i * span : (i + 1) * span])
            return np.ndarray(like.shape, like.dtype, rows, 0, (span, *like.strides[1:]))
        block = np.empty(like.shape, like.dtype)  # without what lies between
        size = max(_PIECE_BYTES // distance, 1)
        for first in range(0, len(like), size):
            piece = slice(first, first + size)
            block[piece] = self._read(file, start + first * step, like[piece])
        return block

    def _read(self, file: Any, start: int, like: np.ndarray) -> np.ndarray:
        """Return rows from ``start`` on, which ``like`` is a map of, as they lie in the file."""
        buffer = self._buffer(_span(like))
        self._fill(file, start, memoryview(buffer)[: _span(like)])
        return np.ndarray(like.shape, like.dtype, buffer, 0, like.strides)

    def _fill(self, file: Any, start: int, view: memoryview) -> None:
        """Read what begins with a row."""
        file.seek(self.offset + start * self.array.strides[0])
        done = 0
        while done < len(view) and (got := file.readinto(view[done:])):
            done += got
        if done < len(view):
            raise OSError(
                f"{self.file} was cut short: of {self.shape[0]} rows, those from {start} on are "
                "not all there."
            )

    def _buffer(self, size: int) -> bytearray:
        if len(self._buffers) == _BUFFERS and len(self._buffers[0]) >= size:
            self._buffers.rotate(-1)
        else:
            self._buffers.append(bytearray(size))
        return self._buffers[-1]


def _span(array: np.ndarray) -> int:
    """Return over how many bytes the entries of an array lie."""
    first, last = byte_bounds(array)
    return last - first


def as_mapped(array: Any) -> Any:
    """Return what reads an array that is mapped row by row from its file; any other as it is."""
    root = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or not array.size:
        return array
    strides, shape = array.strides, array.shape
    width = array.itemsize if array.ndim == 1 else strides[1] * shape[1]
    # What lies between rows is read along, as a map reads whole pages.
    near = width <= strides[0] <= max(2 * width, _PAGE_BYTES)
    if not (root.filename and min(strides) > 0 and near):
        return array
    address = root.__array_interface__["data"][0]
    if not _is_mapped_at(address, str(root.filename)):
        return array
    start = array.__array_interface__["data"][0] - address
    return MappedArray(array, str(root.filename), root.offset + start)


def _is_mapped_at(address: int, file: str) -> bool:
    """Return whether what is mapped at an address is what the file with that name holds now.

    It may have been removed or replaced, and only Linux can tell.
    """
    try:
        inode = os.stat(file).st_ino
        with open("/proc/self/maps") as maps:
            for line in maps:
                span, _, _, _, mapped, *_ = line.split()
                low, high = (int(end, 16) for end in span.split("-"))
                if low <= address < high:
                    return int(mapped) == inode
    except OSError:
        pass
    return False
