"""Columns of a sparse matrix, centred without being formed.

A column less its mean is dense. But it is a sparse column less a constant, and so a product with it
is a sparse product less a multiple of a constant.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .operators import DesignOperator
from .views import viewed


class SparseBlock:
    """Some rows of a sparse matrix in torch, with columns that are mostly filled kept dense.

    Parameters
    ----------
    matrix : sparse array in CSR format
    filled : Tensor of bool of shape (n_features,)
        Which columns are mostly filled.
    device : torch.device

    Attributes
    ----------
    matrix : sparse array in CSR format
        The sparse columns; zeros in place of the filled ones.
    index : Tensor of shape (n_filled,)
        The filled columns.
    dense : Tensor of shape (n_rows, n_filled) or None
    """

    def __init__(self, matrix: Any, filled: Tensor, device: torch.device):
        self.device, self.shape = device, matrix.shape
        (self.index,) = filled.nonzero(as_tuple=True)
        self.dense: Tensor | None = None
        if len(self.index):
            self.dense = torch.from_numpy(matrix[:, self.index.numpy()].toarray()).double()
            self.dense = self.dense.to(device)
            keep = ~filled.numpy()[matrix.indices]
            indptr = np.concatenate(([0], np.cumsum(keep)))[matrix.indptr]
            kept = matrix.data[keep], matrix.indices[keep], indptr
            matrix = type(matrix)(kept, shape=matrix.shape)
        self.matrix = matrix

    @cached_property
    def rows(self) -> Tensor:
        """The sparse columns, compressed by rows."""
        return _as_torch(self.matrix, self.device)

    @cached_property
    def transposed(self) -> Tensor:
        """The transpose of the sparse columns; torch multiplies slowly by one that is no copy."""
        return _as_torch(self.matrix.T.tocsr(), self.device)


def _as_torch(matrix: Any, device: torch.device) -> Tensor:
    # With indices of 32 bits a product reads a quarter less, and MKL does not convert them first.
    index = np.int32 if max(matrix.nnz, *matrix.shape) < 2**31 else np.int64
    indices = matrix.indptr.astype(index, copy=False), matrix.indices.astype(index, copy=False)
    rows, columns, values = map(viewed, (*indices, matrix.data.astype(float, copy=False)))
    return _compressed(rows, columns, values, matrix.shape).to(device)


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: Any) -> Tensor:
    """Return the matrix with these entries, compressed by rows."""
    with warnings.catch_warnings():  # torch warns once that its interface may change
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(rows, columns, values, size=shape, check_invariants=False)


def _with_values(matrix: Tensor, values: Tensor) -> Tensor:
    return _compressed(matrix.crow_indices(), matrix.col_indices(), values, matrix.shape)


@dataclass
class CentredColumns(DesignOperator):
    """``[(X - shift) / scale, 1]``, multiplied by without being formed.

    Parameters
    ----------
    block : SparseBlock
    shift : Tensor of shape (n_features,)
    scale : Tensor of shape (n_features,) or None
    """

    block: SparseBlock
    shift: Tensor
    scale: Tensor | None

    def __len__(self) -> int:
        return self.block.shape[0]

    @property
    def width(self) -> int:
        """The number of columns, with the ones."""
        return len(self.shift) + 1

    @property
    def _like(self) -> dict:
        return {"dtype": torch.float64, "device": self.shift.device}

    @cached_property
    def _rows(self) -> Tensor:
        rows = self.block.rows
        if self.scale is None:
            return rows
        return _with_values(rows, rows.values() / self.scale[rows.col_indices().long()])

    @cached_property
    def _columns(self) -> Tensor:
        columns = self.block.transposed
        if self.scale is None:
            return columns
        return _with_values(columns, columns.values() / self.scale[_row_of_entries(columns)])

    @cached_property
    def _offset(self) -> Tensor:
        """What is subtracted from the columns, of shape (n_features, 1); 0 for filled ones."""
        offset = self.shift.clone() if self.scale is None else self.shift / self.scale
        offset[self.block.index] = 0
        return offset[:, None]

    @cached_property
    def _filled(self) -> Tensor | None:
        """The filled columns, measured from their shift."""
        dense, index = self.block.dense, self.block.index
        if dense is None:
            return None
        centred = dense - self.shift[index]
        return centred if self.scale is None else centred / self.scale[index]

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[:-1]
        product = self._rows @ w
        product += v[-1] - (self._offset * w).sum(0)
        if self._filled is not None:
            product += self._filled @ w[self.block.index]
        return product

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        total = s.sum(0)
        product = self._columns @ s
        product -= self._offset * total
        if self._filled is not None:
            product[self.block.index] = self._filled.T @ s
        return torch.cat((product, total[None]))

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of squares of the columns, without the ones."""
        weight = self._weights(weight)
        squared = _with_values(self._columns, self._columns.values() ** 2)
        sums, offset = (self._columns @ weight)[:, 0], self._offset[:, 0]
        total = (squared @ weight)[:, 0] - 2 * offset * sums + offset**2 * weight.sum()
        if self._filled is not None:
            total[self.block.index] = (self._filled**2 * weight).sum(0)
        return total

    def max_abs(self) -> Tensor:
        """Return the largest absolute value in each column, without the ones."""
        offset = self._offset[:, 0]
        column = _row_of_entries(self._columns)
        sizes = (self._columns.values() - offset[column]).abs()
        # Entries that are zero have the size of the offset.
        largest = offset.abs().scatter_reduce(0, column, sizes, "amax")
        if self._filled is not None:
            largest[self.block.index] = self._filled.abs().amax(0)
        return largest.cpu()

    def row_squares(self, unit: Tensor | None = None) -> Tensor:
        """Return the squared norm of each row, with columns times ``unit`` and without the ones."""
        unit = torch.ones_like(self._offset) if unit is None else unit[: len(self.shift)]
        offset = self._offset * unit
        squared = _with_values(self._rows, self._rows.values() ** 2) @ unit**2
        squared -= 2 * (self._rows @ (offset * unit))
        squared += (offset**2).sum()
        if self._filled is not None:
            squared += self._filled**2 @ unit[self.block.index] ** 2
        return squared[:, 0].clamp(min=0)

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of products of the columns, with the ones."""
        weight, columns = self._weights(weight), self._columns
        of_entries = weight[columns.col_indices().long(), 0]
        gram = (_with_values(columns, columns.values() * of_entries) @ self._rows).to_dense()
        sums = columns @ weight
        gram -= self._offset * sums.T + sums * self._offset.T
        gram += weight.sum() * self._offset * self._offset.T
        if self._filled is not None:
            index, weighted = self.block.index, self._filled * weight
            across = columns @ weighted - self._offset * weighted.sum(0)
            gram[:, index] = across
            gram[index] = across.T
            gram[index[:, None], index] = self._filled.T @ weighted
        last = self.transposed_times(weight)
        return torch.cat((torch.cat((gram, last[:-1]), 1), last.T))

    def _weights(self, weight: Tensor | None) -> Tensor:
        """Return the weights, or ones for None, of shape (n_rows, 1)."""
        ones = torch.ones(len(self), 1, dtype=torch.float64, device=self.shift.device)
        return ones if weight is None else weight[:, None]


def _row_of_entries(matrix: Tensor) -> Tensor:
    """Return the row of each entry of a matrix that is compressed by rows."""
    return torch.repeat_interleave(matrix.crow_indices().diff().long())
