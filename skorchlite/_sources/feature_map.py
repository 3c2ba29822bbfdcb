"""How the columns of a model are derived from those of X.

A linear model has the columns of X themselves. A polynomial has terms in their place; see
``_polynomials``. The caller may want the coefficients of other terms than those of the model.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._linalg.products import product

Array = NDArray[np.float64]

_LEAST = float(np.finfo(np.float64).tiny)


class CoefficientConversion(ABC):
    """Converts coefficients of a model's columns to those that the caller asked for, and back."""

    @abstractmethod
    def to_caller(self, w: Array) -> Array:
        """Return the caller's coefficients from those of the columns."""

    def to_caller_with_constant(self, w: Array, constant: Array) -> tuple[Array, Array]:
        """Return the caller's coefficients and constant, for columns measured from zero."""
        return self.to_caller(w), constant

    @abstractmethod
    def from_caller(self, coef: Array, constant: Array) -> tuple[Array, Array]:
        """Return (coefficients of the columns, constant) from the caller's."""

    def caller_solution(
        self, v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the caller's (coef, intercept).

        Parameters
        ----------
        v, v_low : Tensor of shape (n_columns + 1, n_targets)
            Coefficients of the columns, which are measured from ``shift``, and the intercept.
        shift : Tensor of shape (n_targets + n_columns,)
        fit_intercept : bool
        """
        w, intercept = from_zero(v, v_low, shift, fit_intercept)
        return np.ascontiguousarray(self.to_caller(w).T), intercept

    def amplification(self, w: Array) -> float:
        """Return how much larger relative errors are in the caller's coefficients than in w."""
        return 1.0

    def relative_size(self, step: Array, w: Array, scale: Array) -> float:
        """Return the largest change of a coefficient by a step, relative to the largest of all.

        Parameters
        ----------
        step, w : array of shape (n_columns, n_targets)
        scale : array of shape (n_columns,)
            The scale of the columns. Coefficients are multiplied by it before they are compared.
        """
        if not len(w):
            return 0.0
        scale = scale[:, None]
        largest = np.maximum(abs(w * scale).max(0), _LEAST)
        return float((abs(step * scale).max(0) / largest).max())


class ColumnRounding:
    """How large the rounding errors of columns are; the defaults are those of the columns of X.

    The errors are ``amplification`` times the size of the entries of a column, before a mean is
    subtracted from them.

    Attributes
    ----------
    least_size : float
        The least size of entries that errors are relative to. It is positive for columns that are
        differences of larger numbers.
    """

    least_size: float = 0.0

    @property
    def uniform(self) -> bool:
        """Whether errors are of about the same size in all rows."""
        return True

    @property
    def amplification(self) -> Array | float:
        """By how much relative errors of X can be amplified in each column."""
        return 1.0

    @property
    def n_roundings(self) -> Array | float:
        """How many roundings it takes to make each column."""
        return 0.0

    def propagated(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the error of each column for relative errors of X, and the size of its entries.

        Both are of shape (n_columns,). None if it would take long to propagate errors row by row.
        """
        return None


_OF_X = ColumnRounding()


class FeatureMap(ABC):
    """Derives the columns of a model from those of X; the defaults are those of the identity.

    Attributes
    ----------
    derived : bool
        Whether the columns are others than those of X. Such columns have rounding errors of their
        own, and coefficients that the caller need not see.
    doubled : bool
        Whether sums over the rows are made in doubled precision.
    even : bool
        Whether the data covers the range of each column so evenly that Chebyshev's polynomials are
        far from dependent on it.
    sampled_rows : ndarray or None
        A sample of the rows of X, or all if they are few. It is kept in the process of the fit, and
        only until that ends.
    """

    derived, doubled, even = False, False, False
    sampled_rows: np.ndarray | None = None

    @property
    def diagonal(self) -> bool:
        """Whether the coefficients differ from the caller's in scale only."""
        return True

    @property
    def rounding(self) -> ColumnRounding:
        """How large the rounding errors of the columns are."""
        return _OF_X

    @property
    def digits_lost(self) -> float:
        """How many digits cancel where the columns add up to numbers of size 1 on the data."""
        return 0.0

    @property
    def penalty_root(self) -> Tensor | None:
        """The matrix that multiplies coefficients to those that a smooth penalty is on.

        The Hessian of the penalty is then proportional to its transpose times itself. None if it
        is a diagonal matrix, since the caller's coefficients differ in scale only.
        """
        return None

    @property
    @abstractmethod
    def conversion(self) -> CoefficientConversion:
        """Converts coefficients of the columns to those that the caller asked for, and back."""

    def for_other_rows(self) -> "FeatureMap":
        """Return the same columns, for rows that no fit has seen, with sums in doubles."""
        return self


class Identity(FeatureMap, CoefficientConversion):
    """The columns of X as they are."""

    @property
    def conversion(self) -> CoefficientConversion:
        """Converts coefficients of the columns to those that the caller asked for, and back."""
        return self

    def to_caller(self, w: Array) -> Array:
        """Return the coefficients, which are the caller's."""
        return w

    def from_caller(self, coef: Array, constant: Array) -> tuple[Array, Array]:
        """Return the coefficients and the constant, which are those of the columns."""
        return coef, constant


IDENTITY = Identity()


def from_zero(v: Tensor, v_low: Tensor, shift: Tensor, fit_intercept: bool) -> tuple[Array, Array]:
    """Return coefficients and intercept for columns and targets that are measured from zero.

    Parameters
    ----------
    v, v_low : Tensor of shape (n_columns + 1, n_targets)
        Coefficients of columns that are measured from ``shift``, and the intercept.
    shift : Tensor of shape (n_targets + n_columns,)
    fit_intercept : bool
    """
    t, high, far = v.shape[1], v.numpy(), shift.numpy()
    w = high[:-1] + v_low.numpy()[:-1]
    intercept = far[:t] - product(far[None, t:], w)[0] + high[-1] if fit_intercept else 0 * high[-1]
    return w, intercept
