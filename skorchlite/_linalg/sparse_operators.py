"""A few rows of a sparse matrix, entry by entry: batches for stochastic descent."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .views import viewed


@dataclass
class SparseBatch:
    """A few rows of ``[(X - shift) / scale, 1]``, entry by entry.

    Parameters
    ----------
    starts : list of int
        Where in the entries each row starts and, last, where they end.
    row, column, value : Tensor of shape (n_entries,)
    shift, scale : Tensor of shape (n_features, 1); scale may be None
    intercept : bool
        Whether there is a column of ones.
    """

    starts: list[int]
    row: Tensor
    column: Tensor
    value: Tensor
    shift: Tensor
    scale: Tensor | None
    intercept: bool

    @classmethod
    def of(cls, matrix: Any, shift: Tensor, scale: Tensor | None, intercept: bool) -> "SparseBatch":
        """Return the rows of a matrix in CSR format."""
        lengths = torch.from_numpy(np.diff(matrix.indptr)).long().to(shift.device)
        return cls(
            matrix.indptr.tolist(),
            torch.repeat_interleave(lengths),
            torch.from_numpy(matrix.indices).long().to(shift.device),
            torch.from_numpy(matrix.data).to(shift.device, shift.dtype)[:, None],
            shift[:, None],
            None if scale is None else scale[:, None],
            intercept,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[: len(self.shift)]
        w = w if self.scale is None else w / self.scale
        product = torch.zeros(len(self), w.shape[1], dtype=w.dtype, device=w.device)
        product.index_add_(0, self.row, self.value * w[self.column])
        product -= self.shift.T @ w
        return product + v[-1] if self.intercept else product

    @property
    def T(self) -> "_TransposedBatch":  # noqa: N802 (as of a tensor)
        """The transpose, to multiply by."""
        return _TransposedBatch(self)

    def split(self, size: int) -> list["SparseBatch"]:
        """Return the rows so many at a time."""
        batches = []
        for start in range(0, len(self), size):
            starts = self.starts[start : start + size + 1]
            part = slice(starts[0], starts[-1])
            columns = self.row[part] - start, self.column[part], self.value[part]
            starts = [place - starts[0] for place in starts]
            batches.append(SparseBatch(starts, *columns, self.shift, self.scale, self.intercept))
        return batches

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with columns of numbers, one for each row."""
        total = s.sum(0, keepdim=True)
        product = self.shift * -total
        product.index_add_(0, self.column, self.value * s[self.row])
        product = product if self.scale is None else product / self.scale
        return torch.cat((product, total)) if self.intercept else product

    def row_squares(self) -> Tensor:
        """Return the squared norm of each row, without the ones."""
        unit = torch.ones_like(self.shift) if self.scale is None else 1 / self.scale
        away = self.shift * unit
        value = self.value * unit[self.column]
        entries = value * (value - 2 * away[self.column])
        squares = torch.full((len(self), 1), float((away**2).sum()), dtype=self.value.dtype)
        return squares.to(self.value.device).index_add_(0, self.row, entries).clamp(min=0)


class _TransposedBatch:
    def __init__(self, batch: SparseBatch):
        self.batch = batch

    def __matmul__(self, s: Tensor) -> Tensor:
        return self.batch.transposed_times(s)

    def split(self, size: int, dim: int) -> list["_TransposedBatch"]:
        """Return the transposes of so many rows at a time."""
        return [part.T for part in self.batch.split(size)]


class Chunk:
    """Some rows of a sparse matrix as torch has them: the sparse columns, and the filled ones."""

    def __init__(self, matrix: Any, filled: Tensor, device: torch.device):
        self.device, self.shape = device, matrix.shape
        (self.index,) = filled.nonzero(as_tuple=True)
        self.dense: Tensor | None = None
        if len(self.index):
            self.dense = torch.from_numpy(matrix[:, self.index.numpy()].toarray()).double()
            self.dense = self.dense.to(device)
            keep = ~filled.numpy()[matrix.indices]
            ends = np.concatenate(([0], np.cumsum(keep)))[matrix.indptr]
            parts = matrix.data[keep], matrix.indices[keep], ends
            matrix = type(matrix)(parts, shape=matrix.shape)
        self.matrix = matrix

    @cached_property
    def rows(self) -> Tensor:
        """The sparse columns, compressed by rows."""
        return _as_torch(self.matrix, self.device)

    @cached_property
    def transposed(self) -> Tensor:
        """The same transposed, which torch does not multiply by fast without a copy."""
        return _as_torch(self.matrix.T.tocsr(), self.device)


def _as_torch(matrix: Any, device: torch.device) -> Tensor:
    # With indices of 32 bits a product reads a quarter less, and MKL none that it has to convert.
    few = max(matrix.nnz, *matrix.shape) < 2**31
    index = np.int32 if few else np.int64
    parts = matrix.indptr.astype(index, copy=False), matrix.indices.astype(index, copy=False)
    rows, columns, values = map(viewed, (*parts, matrix.data.astype(float, copy=False)))
    return _compressed(rows, columns, values, matrix.shape).to(device)


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: Any) -> Tensor:
    """Return the matrix with these entries, compressed by rows."""
    with warnings.catch_warnings():  # torch says, once, that it may change how this is called
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(rows, columns, values, size=shape, check_invariants=False)


def _with_values(matrix: Tensor, values: Tensor) -> Tensor:
    return _compressed(matrix.crow_indices(), matrix.col_indices(), values, matrix.shape)


@dataclass
class CentredColumns:
    """``[(X - shift) / scale, 1]``, of which only the products are formed.

    Parameters
    ----------
    chunk : Chunk
    shift : Tensor of shape (n_features,)
    scale : Tensor of shape (n_features,) or None
    """

    chunk: Chunk
    shift: Tensor
    scale: Tensor | None

    def __len__(self) -> int:
        return self.chunk.shape[0]

    @cached_property
    def _rows(self) -> Tensor:
        rows = self.chunk.rows
        if self.scale is None:
            return rows
        return _with_values(rows, rows.values() / self.scale[rows.col_indices().long()])

    @cached_property
    def _columns(self) -> Tensor:
        columns = self.chunk.transposed
        if self.scale is None:
            return columns
        return _with_values(columns, columns.values() / self.scale[_row_of_entries(columns)])

    @cached_property
    def _away(self) -> Tensor:
        """What is taken from the sparse columns: nothing from the filled ones."""
        away = self.shift.clone() if self.scale is None else self.shift / self.scale
        away[self.chunk.index] = 0
        return away[:, None]

    @cached_property
    def _filled(self) -> Tensor | None:
        """The filled columns, measured from their shift."""
        dense, index = self.chunk.dense, self.chunk.index
        if dense is None:
            return None
        away = dense - self.shift[index]
        return away if self.scale is None else away / self.scale[index]

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[:-1]
        product = self._rows @ w
        product += v[-1] - (self._away * w).sum(0)
        if self._filled is not None:
            product += self._filled @ w[self.chunk.index]
        return product

    @property
    def T(self) -> "_Transposed":  # noqa: N802 (as of a tensor)
        """The transpose, to multiply by."""
        return _Transposed(self)

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with columns of numbers, one for each row."""
        total = s.sum(0)
        product = self._columns @ s
        product -= self._away * total
        if self._filled is not None:
            product[self.chunk.index] = self._filled.T @ s
        return torch.cat((product, total[None]))

    def squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of the squares of the columns, without that of the ones."""
        weight = self._ones(weight)
        squared = _with_values(self._columns, self._columns.values() ** 2)
        sums, away = (self._columns @ weight)[:, 0], self._away[:, 0]
        total = (squared @ weight)[:, 0] - 2 * away * sums + away**2 * weight.sum()
        if self._filled is not None:
            total[self.chunk.index] = (self._filled**2 * weight).sum(0)
        return total

    def largest(self) -> Tensor:
        """Return the largest size of the entries of each column, without the ones."""
        away = self._away[:, 0]
        column = _row_of_entries(self._columns)
        sizes = (self._columns.values() - away[column]).abs()
        largest = away.abs().scatter_reduce(0, column, sizes, "amax")  # the zeros among them
        if self._filled is not None:
            largest[self.chunk.index] = self._filled.abs().amax(0)
        return largest.cpu()

    def row_squares(self, unit: Tensor | None, intercept: bool) -> Tensor:
        """Return the squared norm of each row, its columns times ``unit``."""
        unit = torch.ones_like(self._away) if unit is None else unit[: len(self.shift)]
        away = self._away * unit
        squared = _with_values(self._rows, self._rows.values() ** 2) @ unit**2
        squared -= 2 * (self._rows @ (away * unit))
        squared += (away**2).sum() + intercept
        if self._filled is not None:
            squared += self._filled**2 @ unit[self.chunk.index] ** 2
        return squared[:, 0].clamp(min=0)

    def products(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of products of the columns, the ones among them."""
        weight, columns = self._ones(weight), self._columns
        shares = weight[columns.col_indices().long(), 0]
        gram = (_with_values(columns, columns.values() * shares) @ self._rows).to_dense()
        sums = columns @ weight
        gram -= self._away * sums.T + sums * self._away.T
        gram += weight.sum() * self._away * self._away.T
        if self._filled is not None:
            index, weighted = self.chunk.index, self._filled * weight
            across = columns @ weighted - self._away * weighted.sum(0)
            gram[:, index] = across
            gram[index] = across.T
            gram[index[:, None], index] = self._filled.T @ weighted
        last = self.transposed_times(weight)
        return torch.cat((torch.cat((gram, last[:-1]), 1), last.T))

    def _ones(self, weight: Tensor | None) -> Tensor:
        ones = torch.ones(len(self), 1, dtype=torch.float64, device=self.shift.device)
        return ones if weight is None else weight[:, None]


def _row_of_entries(matrix: Tensor) -> Tensor:
    return torch.repeat_interleave(matrix.crow_indices().diff().long())


class _Transposed:
    def __init__(self, columns: CentredColumns):
        self.columns = columns

    def __matmul__(self, s: Tensor) -> Tensor:
        return self.columns.transposed_times(s)
