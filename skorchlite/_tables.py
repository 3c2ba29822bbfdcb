"""Tables that are read by slices of rows: data frames, Arrow tables, sparse matrices."""

import os
import re
from collections import deque
from functools import lru_cache
from mmap import mmap
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

_PAGE_BYTES = 4096
_PIECE_BYTES = 1 << 20  # that are read at a time of rows far apart
_BUFFERS = 6  # more than blocks wait to be computed with
NUMERIC_KINDS = "biuf"
_ARROW_NUMBERS = re.compile(r"bool|u?int\d+|halffloat|float|double|decimal\d+\(.*\)")


class Checked:
    """What is read by slices of rows, and holds real numbers by the way it is made.

    Attributes
    ----------
    ahead : bool
        Whether it takes time to read, so that it is worth reading ahead.
    """

    ahead = False


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


class Frame(Checked):
    """Row slices of a pandas or polars data frame, each cast to one float dtype.

    Casting the frame at once would copy all of it as soon as its columns differ in dtype.
    """

    def __init__(self, frame: Any, dtype: np.dtype):
        self._frame = frame
        self.dtype = dtype
        self.shape = frame.shape

    @property
    def names(self) -> list:
        """The names of the columns."""
        return list(self._frame.columns)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if hasattr(self._frame, "iloc"):
            return self._frame.iloc[rows].to_numpy(dtype=self.dtype, na_value=np.nan)
        return self._frame[rows].to_numpy().astype(self.dtype, copy=False)


class ArrowTable(Checked):
    """Row slices of an Arrow table or record batch, each cast to one float dtype."""

    def __init__(self, table: Any, dtype: np.dtype):
        self._table, self.dtype, self.shape = table, dtype, table.shape

    @property
    def names(self) -> list:
        """The names of the columns."""
        return list(self._table.schema.names)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.shape[0])
            part = self._table.slice(start, stop - start)
        else:
            part, step = self._table.take(rows), 1
        columns = np.empty(part.shape[::-1], self.dtype)
        for values, column in zip(columns, part.columns, strict=True):
            values[:] = _of_arrow(column)
        return columns.T[::step]


def _of_arrow(column: Any) -> np.ndarray:
    if hasattr(column, "chunks"):
        if column.num_chunks != 1:
            return column.to_numpy()
        column = column.chunk(0)
    return column.to_numpy(zero_copy_only=False)  # a copy where it has missing values, or bits


class SparseTable(Checked):
    """A sparse matrix; its row slices are made dense, each by itself.

    Parameters
    ----------
    matrix : sparse matrix or array in CSR format
    """

    def __init__(self, matrix: Any):
        if not matrix.has_canonical_format:  # entries that are there twice add up
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self.matrix, self.shape = matrix, matrix.shape
        single = matrix.dtype.kind == "f" and matrix.dtype.itemsize <= 4
        self.dtype = np.dtype(np.float32 if single else np.float64)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self.matrix[rows].toarray().astype(self.dtype, copy=False)

    def columns(self, index: np.ndarray) -> "SparseTable":
        """Return some of the columns."""
        return SparseTable(self.matrix[:, index])


def as_frame(X: Any) -> Frame | ArrowTable | None:
    """Return a numeric frame or Arrow table to be read by slices; None for anything else."""
    if len(getattr(X, "shape", ())) != 2 or not hasattr(type(X), "columns"):
        return None
    if hasattr(type(getattr(X, "schema", None)), "types"):  # asked of types: answers take time
        return ArrowTable(X, _arrow_dtype(X.schema)) if X.shape[1] else None
    if not hasattr(X, "dtypes"):
        return None
    kinds = {_column_kind(dtype) for dtype in X.dtypes}
    if not kinds or None in kinds:
        return None  # scikit-learn converts objects, or says which column it cannot
    return Frame(X, _dtype_of(kinds))


def _dtype_of(kinds: set) -> np.dtype:
    return np.dtype(np.float32 if kinds == {"single"} else np.float64)


@lru_cache(1)  # one batch after the other has the same schema
def _arrow_dtype(schema: Any) -> np.dtype:
    return _dtype_of({_arrow_kind(field.name, field.type) for field in schema})


def _arrow_kind(name: str, dtype: Any) -> str:
    """Return "single" or "double"; raise an error that names the column if it has no numbers."""
    kind = str(dtype.value_type if hasattr(dtype, "index_type") else dtype)
    if not _ARROW_NUMBERS.fullmatch(kind):
        raise ValueError(
            f"Column {name!r} has the Arrow type {dtype}, which holds no real numbers. Leave it "
            "out, or encode it as numbers first."
        )
    return "single" if kind in ("float", "halffloat") else "double"


def _column_kind(dtype: Any) -> str | None:
    """Return "single", "double" or, for what is no plain number, None."""
    if hasattr(dtype, "is_numeric"):  # polars
        name = str(dtype)
        plain = dtype.is_float() or dtype.is_integer() or name == "Boolean"
        return ("single" if name == "Float32" else "double") if plain else None
    if getattr(dtype, "kind", "O") not in NUMERIC_KINDS or hasattr(dtype, "subtype"):
        return None
    single = dtype.kind == "f" and getattr(dtype, "itemsize", 8) <= 4
    return "single" if single else "double"
