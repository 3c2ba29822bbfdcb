"""Rows of a design matrix as linear operators, whether their columns are formed or not."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .gram import cached_rows

_FEW = 8  # columns are gathered first where so many times as many have no part in a product


class DesignOperator(ABC):
    """Some rows of ``[(columns - shift) / scale, 1]``, which multiply like this matrix.

    Solvers only multiply by rows. So an operator need not keep zeros, and can derive columns from
    others as it multiplies.

    The defaults of all other sums form the matrix, which suits few rows. Operators of many rows
    override them.

    Attributes
    ----------
    intercept : bool
        Whether the last column holds ones.
    """

    intercept: bool = True

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of columns, with the ones."""

    @abstractmethod
    def __matmul__(self, v: Tensor) -> Tensor:
        """Return the product with v of shape (width, m)."""

    @abstractmethod
    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""

    @property
    def T(self) -> "Transposed":  # noqa: N802 (as of a tensor)
        """The transpose, which only multiplies."""
        return Transposed(self)

    def to_dense(self) -> Tensor:
        """Return the matrix."""
        return self @ torch.eye(self.width, **self._like)

    def gram(self, weight: Tensor | None) -> Tensor:
        """Return the sums of products of the columns, with weights for the rows unless None."""
        return self.transposed_times(_times(self.to_dense(), weight))

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of squares of the columns, without the ones."""
        squares = _times(self.to_dense()[:, : self.width - self.intercept] ** 2, weight)
        return squares.sum(0)

    def max_abs(self) -> Tensor:
        """Return the largest absolute value in each column, without the ones."""
        return self.to_dense()[:, : self.width - self.intercept].abs().amax(0)

    def row_squares(self, unit: Tensor | None = None) -> Tensor:
        """Return the squared norm of each row, without the ones.

        Parameters
        ----------
        unit : Tensor of shape (width or more, 1), default=None
            What the columns are multiplied by; None for ones.
        """
        Z = self.to_dense()[:, : self.width - self.intercept]
        Z = Z if unit is None else Z * unit[: Z.shape[1]].T
        return (Z * Z).sum(1)

    @property
    @abstractmethod
    def _like(self) -> dict:
        """The dtype and the device of products, as keyword arguments."""


class Transposed:
    """The transpose of an operator, which only multiplies.

    Parameters
    ----------
    operator : DesignOperator
    """

    def __init__(self, operator: DesignOperator):
        self.operator = operator

    def __matmul__(self, s: Tensor) -> Tensor:
        return self.operator.transposed_times(s)


class DenseColumns(DesignOperator):
    """Rows that are formed as a matrix.

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
        """The number of columns, with the ones."""
        return self.Z.shape[1]

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.Z @ v

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        return self.Z.T @ s

    def to_dense(self) -> Tensor:
        """Return the matrix."""
        return self.Z

    def column_squares(self, weight: Tensor | None) -> Tensor:
        """Return the weighted sums of squares of the columns, without the ones."""
        Z = self.Z[:, :-1]
        # A few rows at a time, since the squares of all would need as much memory as the rows. With
        # roots of the weights, squares stay in the range of the dtype. torch's norms of columns
        # take ten times as long where rows are few.
        size, total = cached_rows(self.width), Z.new_zeros(self.width - 1)
        if weight is None:
            for rows in Z.split(size):
                total += rows.square().sum(0)
            return total
        roots = weight.to(Z.dtype).sqrt()[:, None]
        for rows, times in zip(Z.split(size), roots.split(size), strict=True):
            total += (rows * times).square_().sum(0)
        return total

    @property
    def _like(self) -> dict:
        return {"dtype": self.Z.dtype, "device": self.Z.device}


class ShiftedColumns(DesignOperator):
    """``[X - shift, 1]``, multiplied by without being formed.

    To form it takes as long as four products, or as twenty with a vector that is mostly zero. But
    products lose the digits by which the shift is larger than the deviation of a column.

    Parameters
    ----------
    X : Tensor of shape (n_rows, n_features)
    shift : Tensor of shape (n_features,)
    """

    def __init__(self, X: Tensor, shift: Tensor):
        self.X, self.shift = X, shift[:, None]

    def __len__(self) -> int:
        return len(self.X)

    @property
    def width(self) -> int:
        """The number of columns, with the ones."""
        return self.X.shape[1] + 1

    def __matmul__(self, v: Tensor) -> Tensor:
        X, w, shift = self.X, v[:-1], self.shift
        if X.device.type == "cpu":  # a card would have to be waited for
            (used,) = w.any(1).nonzero(as_tuple=True)
            if _FEW * len(used) < len(w):
                X, w, shift = X.index_select(1, used), w[used], shift[used]
        return (X @ w).add_(v[-1] - (shift * w).sum(0))

    def transposed_times(self, s: Tensor) -> Tensor:
        """Return the product of the transpose with s of shape (n_rows, m)."""
        total = s.sum(0, keepdim=True)
        return torch.cat(((self.X.T @ s).addcmul_(self.shift, total, value=-1), total))

    @property
    def _like(self) -> dict:
        return {"dtype": self.X.dtype, "device": self.X.device}


def _times(columns: Tensor, weight: Tensor | None) -> Tensor:
    return columns if weight is None else columns * weight[:, None].to(columns.dtype)
