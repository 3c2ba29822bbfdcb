"""Rows of a sparse matrix: their zeros are neither kept nor computed with, centred or not.

A centred column is dense. But it is a sparse column less a constant, so that a product with it is a
sparse product less a product of two vectors. Columns that have few zeros are stored as dense ones:
the difference of the two products would lose digits to cancellation.
"""

import copy
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from .._linalg.centred_columns import CentredColumns, SparseBlock
from .._linalg.sparse_batch import SparseBatch
from .._linalg.views import viewed
from .arrays import ArrayRows, rows_of

_FILLED = 0.5  # the part of a column that is not zero, above which it is stored with its zeros
_BLOCK_ENTRIES = 1 << 24  # that are stored


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
        for name in ("_staging", "_kept_block", "_sparse_blocks", "filled"):
            vars(part).pop(name, None)
        X, y, weight = self.arrays
        part.arrays = X.columns(index.numpy()), y, weight
        part.n_features = len(index)
        return part

    @cached_property
    def filled(self) -> Tensor:
        """Which columns have few zeros, and are stored with them."""
        X = self.arrays[0]
        # torch counts twice as fast as NumPy, which makes a copy of indices of 32 bits.
        counts = torch.bincount(viewed(X.matrix.indices), minlength=self.n_features)
        return counts > _FILLED * X.shape[0]

    def centred(self, shift: Tensor, scale: Tensor | None) -> Iterator[tuple]:
        """Yield ``(y, Z, sample_weight)`` block by block; see ``Rows``."""
        shift = shift.to(self.device)
        for block, y, weight in self._sparse_blocks:
            yield y, CentredColumns(block, shift, scale), weight

    def batches(
        self,
        size: int,
        order: Tensor | None,
        shift: Tensor,
        scale: Tensor | None,
        intercept: bool,
    ) -> Iterator[tuple]:
        """Yield ``(y, Z, sample_weight)``, ``size`` rows at a time, Z a ``SparseBatch``.

        Parameters
        ----------
        size : int
        order : Tensor of shape (n_ordered,) or None
            The numbers of the rows; None for each row once.
        shift, scale
            As of ``centred``.
        intercept : bool
            Whether there is a column of ones.
        """
        X, *rest = self.arrays
        for start in range(0, self.n_rows if order is None else len(order), size):
            rows = self._chosen(slice(start, start + size), order)
            y, weight = (None if c is None else rows_of(c, rows, self.device) for c in rest)
            matrix = X.matrix[rows if isinstance(rows, slice) else rows.numpy()]
            batch = SparseBatch.of(matrix, shift.to(self.device), scale, intercept)
            yield (y if y is None or y.ndim == 2 else y[:, None]), batch, weight

    @property
    def density(self) -> float:
        """The part of the entries that are stored."""
        matrix = self.arrays[0].matrix
        return matrix.nnz / max(matrix.shape[0] * matrix.shape[1], 1)

    @cached_property
    def _sparse_blocks(self) -> list[tuple[SparseBlock, Tensor | None, Tensor | None]]:
        """Blocks of about ``_BLOCK_ENTRIES`` stored entries, with their targets and weights."""
        matrix = self.arrays[0].matrix
        size = max(_BLOCK_ENTRIES * matrix.shape[0] // max(matrix.nnz, 1), 1)
        blocks = []
        for start in range(0, self.n_rows, size):
            rows = self._chosen(slice(start, start + size), None)
            whole = isinstance(rows, slice) and rows == slice(0, matrix.shape[0], 1)
            part = matrix if whole else matrix[rows if isinstance(rows, slice) else rows.numpy()]
            y, weight = (
                None if column is None else rows_of(column, rows, self.device).double()
                for column in self.arrays[1:]
            )
            y = y if y is None or y.ndim == 2 else y[:, None]
            blocks.append((SparseBlock(part, self.filled, self.device), y, weight))
        return blocks
