"""Arrays that are mapped from a file, such as ``np.load(path, mmap_mode="r")`` returns.

Their rows are read from the file rather than through the map. Where memory is short, the system is
slow to take back the pages of a map that were read. And where the file has been cut short since, to
touch its missing pages ends the process, while to read them raises an error.

A map knows the name of its file, but the name may stand for another file by now: one that was saved
in its place has the same name, shape and dtype. Only the inode tells them apart. Neither
``np.memmap`` nor ``mmap`` give the inode, or the descriptor, of what they map, so that it is looked
up among the maps that Linux lists for the process. On other systems rows are read through the map.
"""

import os
from collections import deque
from io import FileIO
from mmap import mmap
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .tables import Checked

_PAGE_BYTES = 4096
_PIECE_BYTES = 1 << 20  # that are read at once, with the gaps between the rows
_BUFFERS = 6  # more than the blocks that wait to be computed with


class MappedArray(Checked):
    """Row slices of an array that is mapped from a file, read from the file.

    Parameters
    ----------
    array : ndarray
    file : str
    offset : int
        Where in the file the first entry is, in bytes.
    """

    ahead = True

    def __init__(self, array: np.ndarray, file: str, offset: int):
        self.array, self.file, self.offset = array, file, offset
        self.shape, self.dtype = array.shape, array.dtype
        # Buffers are used again, the oldest first: to touch new memory costs as much as to fill it.
        self._buffers: deque[bytearray] = deque(maxlen=_BUFFERS)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if not isinstance(rows, slice) or (rows.step or 1) < 0:
            return self.array[rows]
        start, stop, step = rows.indices(self.shape[0])
        mapped = self.array[start:stop:step]
        if not len(mapped):
            return mapped
        with open(self.file, "rb", buffering=0) as file:
            return self._read_rows(file, start, step, mapped)

    def _read_rows(self, file: FileIO, start: int, step: int, mapped: np.ndarray) -> np.ndarray:
        """Return every ``step``-th row from ``start`` on; ``mapped`` has these rows in the map."""
        width, distance = _n_bytes(mapped[:1]), mapped.strides[0]
        if 2 * width >= distance:
            return self._read_whole(file, start, mapped)
        if distance > _PAGE_BYTES:
            # Row by row: through the map, all the pages around each row would be read and kept.
            rows = bytearray(width * len(mapped))
            view = memoryview(rows)
            for i in range(len(mapped)):
                self._fill(file, start + i * step, view[i * width : (i + 1) * width])
            strides = width, *mapped.strides[1:]
            return np.ndarray(mapped.shape, mapped.dtype, rows, 0, strides)
        block = np.empty(mapped.shape, mapped.dtype)  # without the gaps between the rows
        n_rows = max(_PIECE_BYTES // distance, 1)
        for first in range(0, len(mapped), n_rows):
            piece = slice(first, first + n_rows)
            block[piece] = self._read_whole(file, start + first * step, mapped[piece])
        return block

    def _read_whole(self, file: FileIO, start: int, mapped: np.ndarray) -> np.ndarray:
        """Return rows from ``start`` on as they lie in the file, with the gaps between them."""
        n_bytes = _n_bytes(mapped)
        buffer = self._buffer(n_bytes)
        self._fill(file, start, memoryview(buffer)[:n_bytes])
        return np.ndarray(mapped.shape, mapped.dtype, buffer, 0, mapped.strides)

    def _fill(self, file: FileIO, start: int, view: memoryview) -> None:
        """Fill a view with the bytes of the file from a row on."""
        file.seek(self.offset + start * self.array.strides[0])
        done = 0
        while done < len(view) and (got := file.readinto(view[done:])):
            done += got
        if done < len(view):
            raise OSError(
                f"{self.file} was cut short: of {self.shape[0]} rows, those from {start} on are "
                "not all there."
            )

    def _buffer(self, n_bytes: int) -> bytearray:
        if len(self._buffers) == _BUFFERS and len(self._buffers[0]) >= n_bytes:
            self._buffers.rotate(-1)
        else:
            self._buffers.append(bytearray(n_bytes))
        return self._buffers[-1]


def _n_bytes(array: np.ndarray) -> int:
    """Return how many bytes lie between the first and the last of the entries of an array."""
    first, last = byte_bounds(array)
    return last - first


def as_mapped(array: Any) -> Any:
    """Return the reader of an array that is mapped from a file; any other array as it is."""
    root = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap):
        root = root.base
    # A map that is copied on write may differ from the file.
    if not isinstance(root, np.memmap) or root.mode == "c" or not array.size:
        return array
    if not root.filename or not _has_rows_apart(array):
        return array
    address, file = _address(root), str(root.filename)
    if not _is_mapped_at(address, file):
        return array
    return MappedArray(array, file, root.offset + _address(array) - address)


def _has_rows_apart(array: np.ndarray) -> bool:
    """Return whether rows lie one after the other, with gaps that cost little to read along."""
    row = array.itemsize if array.ndim == 1 else array.strides[1] * array.shape[1]
    distance = array.strides[0]
    return min(array.strides) > 0 and row <= distance <= max(2 * row, _PAGE_BYTES)


def _address(array: np.ndarray) -> int:
    """Return where in memory the first entry of an array is."""
    return array.__array_interface__["data"][0]


def _is_mapped_at(address: int, file: str) -> bool:
    """Return whether the map at an address is one of the file that has this name now."""
    try:
        inode = os.stat(file).st_ino
        with open("/proc/self/maps") as maps:
            for line in maps:  # "low-high permissions offset device inode name"
                addresses, _, _, _, mapped_inode, *_ = line.split()
                low, high = (int(end, 16) for end in addresses.split("-"))
                if low <= address < high:
                    # Devices are not compared: some file systems report two for the same file.
                    return int(mapped_inode) == inode
    except OSError:  # the file was removed, or this is not Linux
        pass
    return False
