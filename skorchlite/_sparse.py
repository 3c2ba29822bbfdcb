"""Rows of a sparse matrix: their zeros are neither kept nor computed with, centred or not.

A column less its mean is dense, but it is the sparse column less a constant, so that a product with
it is a sparse product less a product of two vectors. Columns that are mostly filled are taken as
dense ones, since for them the difference would lose the digits that it leaves.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._batches import ArrayRows, as_tensor

_FILLED = 0.5  # of a column
_BLOCK_ENTRIES = 1 << 24
_SPARSE_PRODUCT = 0.05  # of the entries: with more, products of dense blocks are faster


class SparseRows(ArrayRows):
    """The rows of a sparse matrix.

    Parameters
    ----------
    X : SparseTable
    y, sample_weight, device, first
        As of ``ArrayRows``.
    """

    sparse = True

    def columns(self, index: Tensor) -> "SparseRows":
        """Return the rows with some of the columns."""
        part = copy.copy(self)
        for name in ("_staging", "_chunks", "filled"):
            vars(part).pop(name, None)
        X, y, weight = self.arrays
        part.arrays = X.columns(index.numpy()), y, weight
        part.n_features = len(index)
        return part

    @cached_property
    def filled(self) -> Tensor:
        """Which columns are mostly filled."""
        counts = np.bincount(self.arrays[0].matrix.indices, minlength=self.n_features)
        return torch.from_numpy(counts > _FILLED * self.arrays[0].shape[0])

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, columns, sample_weight)``; the columns are measured from an origin.

        Parameters
        ----------
        shift : Tensor of shape (n_features,)
        scale : Tensor of shape (n_features,) or None
            Divides the columns; None for ones.
        """
        for rows, chunk in self._chunks:
            _, y, weight = (None if c is None else _part(c, rows) for c in self.arrays)
            y = None if y is None else as_tensor(y, self.device).double()
            weight = None if weight is None else as_tensor(weight, self.device).double()
            columns = CentredColumns(chunk, shift.to(self.device), scale)
            yield (y if y is None or y.ndim == 2 else y[:, None]), columns, weight

    @cached_property
    def _chunks(self) -> list[tuple[Any, "Chunk"]]:
        """The rows, as many at a time as a vector of them is worth keeping, and their numbers."""
        matrix = self.arrays[0].matrix
        size = max(_BLOCK_ENTRIES * matrix.shape[0] // max(matrix.nnz, 1), 1)
        chunks = []
        for start in range(0, self.n_rows, size):
            rows = self._chosen(slice(start, start + size), None)
            whole = isinstance(rows, slice) and rows == slice(0, matrix.shape[0], 1)
            part = matrix if whole else matrix[rows if isinstance(rows, slice) else rows.numpy()]
            chunks.append((rows, Chunk(part, self.filled, self.device)))
        return chunks


def _part(column: Any, rows: slice | Tensor) -> Any:
    return column[rows] if isinstance(rows, slice) else column[rows.numpy()]


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

    @cached_property
    def density(self) -> float:
        """The part of all entries that are kept."""
        return self.matrix.nnz / max(self.matrix.shape[0] * self.matrix.shape[1], 1)


def _as_torch(matrix: Any, device: torch.device) -> Tensor:
    # With indices of 32 bits a product reads a quarter less, and MKL none that it has to convert.
    few = max(matrix.nnz, *matrix.shape) < 2**31
    index = np.int32 if few else np.int64
    parts = matrix.indptr.astype(index, copy=False), matrix.indices.astype(index, copy=False)
    rows, columns, values = map(torch.from_numpy, (*parts, matrix.data.astype(float, copy=False)))
    return torch.sparse_csr_tensor(
        rows, columns, values, size=matrix.shape, check_invariants=False
    ).to(device)


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
    def _away(self) -> Tensor:
        """What is taken from the sparse columns: nothing from the filled ones."""
        away = self.shift.clone()
        away[self.chunk.index] = 0
        return away[:, None]

    @cached_property
    def _filled(self) -> Tensor | None:
        """The filled columns, measured from their shift."""
        dense = self.chunk.dense
        return None if dense is None else dense - self.shift[self.chunk.index]

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[:-1] if self.scale is None else v[:-1] / self.scale[:, None]
        product = self.chunk.rows @ w
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
        product = self.chunk.transposed @ s
        product -= self._away * total
        if self._filled is not None:
            product[self.chunk.index] = self._filled.T @ s
        if self.scale is not None:
            product /= self.scale[:, None]
        return torch.cat((product, total[None]))

    def squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of the squares of the columns, without that of the ones."""
        weight = self._ones(weight)
        values = self.chunk.transposed
        squared = torch.sparse_csr_tensor(
            values.crow_indices(),
            values.col_indices(),
            values.values() ** 2,
            size=values.shape,
            check_invariants=False,
        )
        sums, away = (values @ weight)[:, 0], self._away[:, 0]
        total = (squared @ weight)[:, 0] - 2 * away * sums + away**2 * weight.sum()
        if self._filled is not None:
            total[self.chunk.index] = (self._filled**2 * weight).sum(0)
        return total if self.scale is None else total / self.scale**2

    def largest(self) -> Tensor:
        """Return the largest size of the entries of each column, without the ones."""
        values, away = self.chunk.transposed, self._away[:, 0]
        lengths = values.crow_indices().diff().long()
        column = torch.repeat_interleave(torch.arange(len(away)), lengths)
        largest = away.abs()  # of the zeros
        sizes = (values.values() - away[column]).abs()
        largest = largest.scatter_reduce(0, column, sizes, "amax")
        if self._filled is not None:
            largest[self.chunk.index] = self._filled.abs().amax(0)
        return largest.cpu()

    def _ones(self, weight: Tensor | None) -> Tensor:
        ones = torch.ones(len(self), 1, dtype=torch.float64, device=self.shift.device)
        return ones if weight is None else weight[:, None]

    def products(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of products of the columns, the ones among them."""
        weight = self._ones(weight)
        S, T = self.chunk.rows, self.chunk.transposed
        weighted = torch.sparse_csr_tensor(
            T.crow_indices(),
            T.col_indices(),
            T.values() * weight[T.col_indices(), 0],
            size=T.shape,
            check_invariants=False,
        )
        gram = (weighted @ S).to_dense()
        sums = T @ weight
        gram -= self._away * sums.T + sums * self._away.T
        gram += weight.sum() * self._away * self._away.T
        if self._filled is not None:
            index = self.chunk.index
            across = T @ (self._filled * weight) - self._away * (self._filled * weight).sum(0)
            gram[:, index] = across
            gram[index] = across.T
            gram[index[:, None], index] = self._filled.T @ (self._filled * weight)
        if self.scale is not None:
            gram /= self.scale[:, None] * self.scale
        last = self.transposed_times(weight)
        return torch.cat((torch.cat((gram, last[:-1]), 1), last.T))


class _Transposed:
    def __init__(self, columns: CentredColumns):
        self.columns = columns

    def __matmul__(self, s: Tensor) -> Tensor:
        return self.columns.transposed_times(s)
