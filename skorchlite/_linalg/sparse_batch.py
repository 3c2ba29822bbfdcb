"""Mini-batches of a sparse matrix, as lists of its entries."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .operators import DesignOperator, Transposed


@dataclass
class SparseBatch(DesignOperator):
    """A few rows of ``[(X - shift) / scale, 1]``, as a list of the entries of X.

    Parameters
    ----------
    starts : list of int
        Where the entries of each row start, and last where all entries end.
    row, column, value : Tensor of shape (n_entries,)
    shift, scale : Tensor of shape (n_features, 1)
        The scale may be None, for ones.
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

    @property
    def width(self) -> int:
        """The number of columns, with the ones."""
        return len(self.shift) + self.intercept

    def __matmul__(self, v: Tensor) -> Tensor:
        w = v[: len(self.shift)]
        w = w if self.scale is None else w / self.scale
        product = torch.zeros(len(self), w.shape[1], dtype=w.dtype, device=w.device)
        product.index_add_(0, self.row, self.value * w[self.column])
        product -= self.shift.T @ w
        return product + v[-1] if self.intercept else product

    @property
    def T(self) -> "TransposedBatch":  # noqa: N802 (as of a tensor)
        """The transpose, which multiplies and can be split."""
        return TransposedBatch(self)

    def split(self, size: int) -> list["SparseBatch"]:
        """Return the rows as batches of ``size`` rows."""
        batches = []
        for first in range(0, len(self), size):
            starts = self.starts[first : first + size + 1]
            chosen = slice(starts[0], starts[-1])
            entries = self.row[chosen] - first, self.column[chosen], self.value[chosen]
            starts = [start - starts[0] for start in starts]
            batches.append(SparseBatch(starts, *entries, self.shift, self.scale, self.intercept))
        return batches

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        total = s.sum(0, keepdim=True)
        product = self.shift * -total
        product.index_add_(0, self.column, self.value * s[self.row])
        product = product if self.scale is None else product / self.scale
        return torch.cat((product, total)) if self.intercept else product

    def row_squares(self, unit: Tensor | None = None) -> Tensor:
        """Return the squared norm of each row, with columns times ``unit`` and without the ones."""
        unit = torch.ones_like(self.shift) if unit is None else unit[: len(self.shift)]
        unit = unit if self.scale is None else unit / self.scale
        offset, value = self.shift * unit, self.value * unit[self.column]
        entries = value * (value - 2 * offset[self.column])
        squares = torch.full((len(self), 1), float((offset**2).sum()), **self._like)
        return squares.index_add_(0, self.row, entries).clamp(min=0)[:, 0]

    @property
    def _like(self) -> dict:
        return {"dtype": self.value.dtype, "device": self.value.device}


class TransposedBatch(Transposed):
    """The transpose of a batch, which can be split like a tensor."""

    operator: SparseBatch

    def split(self, size: int, dim: int) -> list["TransposedBatch"]:
        """Return the transposes of batches of ``size`` rows."""
        return [part.T for part in self.operator.split(size)]
