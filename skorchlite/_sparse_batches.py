"""A few rows of a sparse matrix, entry by entry: batches for stochastic descent."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


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
