"""Columns of a sparse matrix, centred without being formed.

A column less its mean is dense. But it is a sparse column less a constant, and so a product with it
is a sparse product less a multiple of a constant.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .operators import DesignOperator
from .sparse_matrix import SparseMatrix, sparse_matrix


class SparseBlock:
    """Some rows of a sparse matrix, with columns that are mostly filled kept dense.

    Parameters
    ----------
    matrix : sparse array in CSR format
    filled : Tensor of bool of shape (n_features,)
        Which columns are mostly filled.
    device : torch.device

    Attributes
    ----------
    matrix : SparseMatrix
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
        self.matrix = sparse_matrix(matrix, device)


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
    def _matrix(self) -> SparseMatrix:
        """The sparse columns in their units."""
        matrix = self.block.matrix
        return matrix if self.scale is None else matrix.divided(self.scale)

    @cached_property
    def offset(self) -> Tensor:
        """What is subtracted from the columns, of shape (n_features, 1); 0 for filled ones."""
        offset = self.shift if self.scale is None else self.shift / self.scale
        if len(self.block.index):
            offset = offset.index_fill(0, self.block.index.to(offset.device), 0.0)
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
        product = self.uncentred_times(w)
        product += v[-1] - (self.offset * w).sum(0)
        return product

    def uncentred_times(self, w: Tensor) -> Tensor:
        """Return the product with w of shape (n_features, m), without taking off the offset."""
        product = self._matrix @ w
        if self._filled is not None:
            product += self._filled @ w[self.block.index]
        return product

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        product = s.new_empty(self.width, s.shape[1])
        total = torch.sum(s, 0, keepdim=True, out=product[-1:])
        along = self.uncentred_transposed_times(s)
        torch.addcmul(along, self.offset, total, value=-1, out=product[:-1])
        return product

    def uncentred_transposed_times(self, s: Tensor) -> Tensor:
        """Return the same for the columns alone, without taking off the offset."""
        product = self._matrix.transposed_times(s)
        if self._filled is not None:
            product[self.block.index] = self._filled.T @ s
        return product

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of squares of the columns, without the ones."""
        weight, offset = self._weights(weight), self.offset
        total = self._matrix.squared().transposed_times(weight)
        if offset.any():
            sums = self._matrix.transposed_times(weight)
            total += offset * (offset * weight.sum() - 2 * sums)
        total = total[:, 0]
        if self._filled is not None:
            total[self.block.index] = (self._filled**2 * weight).sum(0)
        return total

    def max_abs(self) -> Tensor:
        """Return the largest absolute value in each column, without the ones."""
        offset = self.offset[:, 0]
        column, value = self._matrix.entries
        sizes = (value - offset[column]).abs()
        # Entries that are zero have the size of the offset.
        largest = offset.abs().scatter_reduce(0, column, sizes, "amax")
        if self._filled is not None:
            largest[self.block.index] = self._filled.abs().amax(0)
        return largest.cpu()

    def row_squares(self, unit: Tensor | None = None) -> Tensor:
        """Return the squared norm of each row, with columns times ``unit`` and without the ones."""
        unit = torch.ones_like(self.offset) if unit is None else unit[: len(self.shift)]
        offset = self.offset * unit
        squared = self._matrix.squared() @ unit**2
        squared -= 2 * (self._matrix @ (offset * unit))
        squared += (offset**2).sum()
        if self._filled is not None:
            squared += self._filled**2 @ unit[self.block.index] ** 2
        return squared[:, 0].clamp(min=0)

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of products of the columns, with the ones."""
        gram, weight = self._matrix.gram(weight), self._weights(weight)
        sums = self._matrix.transposed_times(weight)
        gram -= self.offset * sums.T + sums * self.offset.T
        gram += weight.sum() * self.offset * self.offset.T
        if self._filled is not None:
            index, weighted = self.block.index, self._filled * weight
            across = self._matrix.transposed_times(weighted) - self.offset * weighted.sum(0)
            gram[:, index] = across
            gram[index] = across.T
            gram[index[:, None], index] = self._filled.T @ weighted
        last = self.transposed_times(weight)
        return torch.cat((torch.cat((gram, last[:-1]), 1), last.T))

    def _weights(self, weight: Tensor | None) -> Tensor:
        """Return the weights, or ones for None, of shape (n_rows, 1)."""
        ones = torch.ones(len(self), 1, dtype=torch.float64, device=self.shift.device)
        return ones if weight is None else weight[:, None]
