"""Sparse matrices that multiply tensors on the device that these are on."""

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .views import viewed


class SparseMatrix(ABC):
    """A sparse matrix in double precision, by which tensors are multiplied."""

    @abstractmethod
    def __matmul__(self, v: Tensor) -> Tensor:
        """Return the product with v of shape (n_columns, m)."""

    @abstractmethod
    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""

    @abstractmethod
    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the sums of products of the columns, with weights for the rows unless None."""

    @property
    @abstractmethod
    def entries(self) -> tuple[Tensor, Tensor]:
        """The column of each entry, and its value."""

    @abstractmethod
    def squared(self) -> "SparseMatrix":
        """Return the matrix of the squares."""

    @abstractmethod
    def divided(self, scale: Tensor) -> "SparseMatrix":
        """Return the matrix with each column divided by its scale."""


def sparse_matrix(matrix: Any, device: torch.device) -> SparseMatrix:
    """Return a matrix in CSR format, or array, as one that multiplies on the device."""
    return OnHost(matrix) if device.type == "cpu" else OnDevice.of(matrix, device)


class OnHost(SparseMatrix):
    """A matrix in CSR format, multiplied by SciPy.

    Both products take the entries as they lie, so that there is no copy of them. Those of torch
    need one of the transpose, which takes as long as twenty products, and are no faster on one
    thread; with more threads they wait for all of them, which beside other work takes ten times as
    long.

    Parameters
    ----------
    matrix : sparse matrix or array in CSR format
    """

    def __init__(self, matrix: Any):
        self._matrix = matrix
        if matrix.dtype != np.float64:
            self._matrix = self._with(matrix.data.astype(np.float64))
        self._transposed = self._matrix.T

    def __matmul__(self, v: Tensor) -> Tensor:
        return torch.from_numpy(self._matrix @ v.numpy())

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        return torch.from_numpy(self._transposed @ s.numpy())

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the sums of products of the columns, with weights for the rows unless None."""
        weighted = self._matrix
        if weight is not None:
            lengths = np.diff(weighted.indptr)
            weighted = self._with(weighted.data * np.repeat(weight.numpy(), lengths))
        return torch.from_numpy((self._transposed @ weighted).toarray())

    @property
    def entries(self) -> tuple[Tensor, Tensor]:
        """The column of each entry, and its value."""
        return viewed(self._matrix.indices).long(), viewed(self._matrix.data)

    def squared(self) -> "OnHost":
        """Return the matrix of the squares."""
        return OnHost(self._with(self._matrix.data**2))

    def divided(self, scale: Tensor) -> "OnHost":
        """Return the matrix with each column divided by its scale."""
        return OnHost(self._with(self._matrix.data / scale.numpy()[self._matrix.indices]))

    def _with(self, values: np.ndarray) -> Any:
        matrix = self._matrix
        return type(matrix)((values, matrix.indices, matrix.indptr), shape=matrix.shape)


class OnDevice(SparseMatrix):
    """A matrix that torch multiplies, compressed by rows, and so is its transpose.

    torch multiplies slowly by a transpose that is no copy.

    Parameters
    ----------
    rows, columns : Tensor in CSR layout
        The matrix, and its transpose.
    """

    def __init__(self, rows: Tensor, columns: Tensor):
        self._rows, self._columns = rows, columns

    @classmethod
    def of(cls, matrix: Any, device: torch.device) -> "OnDevice":
        """Return a matrix in CSR format on the device."""
        return cls(_as_torch(matrix, device), _as_torch(matrix.T.tocsr(), device))

    def __matmul__(self, v: Tensor) -> Tensor:
        return self._rows @ v

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        return self._columns @ s

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the sums of products of the columns, with weights for the rows unless None."""
        columns = self._columns
        if weight is not None:
            of_entries = weight[columns.col_indices().long()]
            columns = _with_values(columns, columns.values() * of_entries)
        return (columns @ self._rows).to_dense()

    @property
    def entries(self) -> tuple[Tensor, Tensor]:
        """The column of each entry, and its value."""
        return self._rows.col_indices().long(), self._rows.values()

    def squared(self) -> "OnDevice":
        """Return the matrix of the squares."""
        return OnDevice(*(_with_values(m, m.values() ** 2) for m in (self._rows, self._columns)))

    def divided(self, scale: Tensor) -> "OnDevice":
        """Return the matrix with each column divided by its scale."""
        rows, columns = self._rows, self._columns
        of_columns = torch.repeat_interleave(columns.crow_indices().diff().long())
        return OnDevice(
            _with_values(rows, rows.values() / scale[rows.col_indices().long()]),
            _with_values(columns, columns.values() / scale[of_columns]),
        )


def _as_torch(matrix: Any, device: torch.device) -> Tensor:
    # With indices of 32 bits a product reads a quarter less.
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
