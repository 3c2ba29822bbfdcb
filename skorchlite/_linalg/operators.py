"""Rows of a design matrix that multiply like a matrix, whether their columns are formed or not."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

_PIECE_ENTRIES = 1 << 17  # 1 MB, which stays in a processor's cache


class DesignOperator(ABC):
    """Some rows of ``[(columns - shift) / scale, 1]``, in double precision unless they are formed.

    What a solver does with rows is to multiply them. An operator that keeps no zeros, or that makes
    columns of others as it multiplies, gives the same products as the matrix would.

    Sums and sizes of columns are made of the whole matrix, which is right for few rows; an operator
    of many overrides them.
    """

    intercept: bool = True  # whether the last column holds ones

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of columns, that of the ones among them."""

    @abstractmethod
    def __matmul__(self, v: Tensor) -> Tensor:
        """Return the product with v of shape (width, m)."""

    @abstractmethod
    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""

    @property
    def T(self) -> "Transposed":  # noqa: N802 (as of a tensor)
        """The transpose, to multiply by."""
        return Transposed(self)

    def to_dense(self) -> Tensor:
        """Return the matrix."""
        return self @ torch.eye(self.width, **self._like)

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the sums of products of the columns, weighted row by row if there are weights."""
        return self.transposed_times(_times(self.to_dense(), weight))

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of the squares of the columns, without that of the ones."""
        squares = _times(self.to_dense()[:, : self.width - self.intercept] ** 2, weight)
        return squares.sum(0)

    def max_abs(self) -> Tensor:
        """Return the largest size of the entries of each column, without the ones."""
        return self.to_dense()[:, : self.width - self.intercept].abs().amax(0)

    def row_squares(self, unit: Tensor | None = None) -> Tensor:
        """Return the squared norm of each row, without the ones.

        Parameters
        ----------
        unit : Tensor of shape (width or more, 1), default=None
            Multiplies the columns; None for ones.
        """
        Z = self.to_dense()[:, : self.width - self.intercept]
        Z = Z if unit is None else Z * unit[: Z.shape[1]].T
        return (Z * Z).sum(1)

    @property
    @abstractmethod
    def _like(self) -> dict:
        """The dtype and the device of products."""


class Transposed:
    """The transpose of an operator, to multiply by.

    Parameters
    ----------
    operator : DesignOperator
    """

    def __init__(self, operator: DesignOperator):
        self.operator = operator

    def __matmul__(self, s: Tensor) -> Tensor:
        return self.operator.transposed_times(s)


class DenseColumns(DesignOperator):
    """Rows that are formed.

    Parameters
    ----------
    Z : Tensor of shape (n_rows, width)
        The last column holds ones.
    """

    def __init__(self, Z: Tensor):
        self.Z = Z

    def __len__(self) -> int:
        return len(self.Z)

    @property
    def width(self) -> int:
        """The number of columns, that of the ones among them."""
        return self.Z.shape[1]

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.Z @ v

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with columns of numbers, one for each row."""
        return self.Z.T @ s

    def to_dense(self) -> Tensor:
        """Return the matrix."""
        return self.Z

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of the squares of the columns, without that of the ones."""
        Z = self.Z[:, :-1]
        if weight is None:
            return torch.linalg.vector_norm(Z, dim=0) ** 2
        # By pieces: the squares of all rows would need as much memory as they do.
        size, total = max(_PIECE_ENTRIES // self.width, 16), Z.new_zeros(self.width - 1)
        # With roots of the weights, which keep squares in the range of the dtype.
        roots = weight.to(Z.dtype).sqrt()[:, None]
        for part, times in zip(Z.split(size), roots.split(size), strict=True):
            total += torch.linalg.vector_norm(part * times, dim=0) ** 2
        return total

    @property
    def _like(self) -> dict:
        return {"dtype": self.Z.dtype, "device": self.Z.device}


def _times(columns: Tensor, weight: Tensor | None) -> Tensor:
    return columns if weight is None else columns * weight[:, None].to(columns.dtype)
