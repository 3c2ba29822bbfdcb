"""Columns of a sparse matrix, centred without being formed.

A column less its mean is dense, but it is the sparse column less a constant, so that a product with
it is a sparse product less a product of two vectors.
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
class CentredColumns(DesignOperator):
    """``[(X - shift) / scale, 1]``, of which only the products are formed.

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
        """The number of columns, that of the ones among them."""
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
    def _away(self) -> Tensor:
        """What is taken from the sparse columns: nothing from the filled ones."""
        away = self.shift.clone() if self.scale is None else self.shift / self.scale
        away[self.block.index] = 0
        return away[:, None]

    @cached_property
    def _filled(self) -> Tensor | None:
        """The filled columns, measured from their shift."""
        dense, index = self.block.dense, self.block.index
        if dense is None:
            return None
        away = dense - self.shift[index]
        return away if self.scale is None else away / self.scale[index]

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[:-1]
        product = self._rows @ w
        product += v[-1] - (self._away * w).sum(0)
        if self._filled is not None:
            product += self._filled @ w[self.block.index]
        return product

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with columns of numbers, one for each row."""
        total = s.sum(0)
        product = self._columns @ s
        product -= self._away * total
        if self._filled is not None:
            product[self.block.index] = self._filled.T @ s
        return torch.cat((product, total[None]))

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of the squares of the columns, without that of the ones."""
        weight = self._ones(weight)
        squared = _with_values(self._columns, self._columns.values() ** 2)
        sums, away = (self._columns @ weight)[:, 0], self._away[:, 0]
        total = (squared @ weight)[:, 0] - 2 * away * sums + away**2 * weight.sum()
        if self._filled is not None:
            total[self.block.index] = (self._filled**2 * weight).sum(0)
        return total

    def max_abs(self) -> Tensor:
        """Return the largest size of the entries of each column, without the ones."""
        away = self._away[:, 0]
        column = _row_of_entries(self._columns)
        sizes = (self._columns.values() - away[column]).abs()
        largest = away.abs().scatter_reduce(0, column, sizes, "amax")  # the zeros among them
        if self._filled is not None:
            largest[self.block.index] = self._filled.abs().amax(0)
        return largest.cpu()

    def row_squares(self, unit: Tensor | None = None) -> Tensor:
        """Return the squared norm of each row, its columns times ``unit``, without the ones."""
        unit = torch.ones_like(self._away) if unit is None else unit[: len(self.shift)]
        away = self._away * unit
        squared = _with_values(self._rows, self._rows.values() ** 2) @ unit**2
        squared -= 2 * (self._rows @ (away * unit))
        squared += (away**2).sum()
        if self._filled is not None:
            squared += self._filled**2 @ unit[self.block.index] ** 2
        return squared[:, 0].clamp(min=0)

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of products of the columns, the ones among them."""
        weight, columns = self._ones(weight), self._columns
        shares = weight[columns.col_indices().long(), 0]
        gram = (_with_values(columns, columns.values() * shares) @ self._rows).to_dense()
        sums = columns @ weight
        gram -= self._away * sums.T + sums * self._away.T
        gram += weight.sum() * self._away * self._away.T
        if self._filled is not None:
            index, weighted = self.block.index, self._filled * weight
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
