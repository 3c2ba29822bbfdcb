"""Tables whose rows are converted slice by slice: data frames, Arrow tables, sparse matrices."""

import re
from functools import lru_cache
from typing import Any

import numpy as np

NUMERIC_KINDS = "biuf"
_ARROW_NUMBERS = re.compile(r"bool|u?int\d+|halffloat|float|double|decimal\d+\(.*\)")


class Checked:
    """A table or array that has been checked to hold real numbers, and returns slices of rows.

    Attributes
    ----------
    ahead : bool
        Whether a slice takes so long to read that it is worth a thread that reads ahead.
    """

    ahead = False


class Frame(Checked):
    """A pandas or polars data frame, whose row slices are cast to one float dtype.

    Columns of different dtypes make any cast a copy, which for the whole frame would take as much
    memory as the frame.
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
    """An Arrow table or record batch, whose row slices are cast to one float dtype."""

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
    return column.to_numpy(zero_copy_only=False)  # missing values, and booleans, take a copy


class SparseTable(Checked):
    """A sparse matrix, whose row slices are dense.

    Parameters
    ----------
    matrix : sparse matrix or array in CSR format
    """

    def __init__(self, matrix: Any):
        if not matrix.has_canonical_format:  # an entry may be stored in parts, which add up
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
    """Return the reader of a data frame or Arrow table of numbers; None for anything else."""
    if len(getattr(X, "shape", ())) != 2 or not hasattr(type(X), "columns"):
        return None
    # The types are asked: to read these attributes of the table itself takes time.
    if hasattr(type(getattr(X, "schema", None)), "types"):
        return ArrowTable(X, _arrow_dtype(X.schema)) if X.shape[1] else None
    if not hasattr(X, "dtypes"):
        return None
    kinds = {_column_kind(dtype) for dtype in X.dtypes}
    if not kinds or None in kinds:
        return None  # scikit-learn converts objects, or says which column it cannot convert
    return Frame(X, _dtype_of(kinds))


def _dtype_of(kinds: set) -> np.dtype:
    return np.dtype(np.float32 if kinds == {"single"} else np.float64)


@lru_cache(1)  # the batches of a dataset have the same schema
def _arrow_dtype(schema: Any) -> np.dtype:
    return _dtype_of({_arrow_kind(field.name, field.type) for field in schema})


def _arrow_kind(name: str, dtype: Any) -> str:
    """Return "single" or "double"; raise an error that names the column if it holds no numbers."""
    kind = str(dtype.value_type if hasattr(dtype, "index_type") else dtype)
    if not _ARROW_NUMBERS.fullmatch(kind):
        raise ValueError(
            f"Column {name!r} has the Arrow type {dtype}, which holds no real numbers. Leave it "
            "out, or encode it as numbers first."
        )
    return "single" if kind in ("float", "halffloat") else "double"


def _column_kind(dtype: Any) -> str | None:
    """Return "single" or "double" for a column of plain numbers, None for any other."""
    if hasattr(dtype, "is_numeric"):  # polars
        name = str(dtype)
        plain = dtype.is_float() or dtype.is_integer() or name == "Boolean"
        return ("single" if name == "Float32" else "double") if plain else None
    if getattr(dtype, "kind", "O") not in NUMERIC_KINDS or hasattr(dtype, "subtype"):
        return None
    single = dtype.kind == "f" and getattr(dtype, "itemsize", 8) <= 4
    return "single" if single else "double"
